"""The peers of the case deit-aug-1w: DeiT's augmentation of torchvision's parts, and timm's own."""

import loader_peers
from loader_peers import MEAN, RATIO, SCALE, SIZE, STD

# The config of our side.
RECIPE = """data.path = "unread"
model.name = "deit_small_patch16_224"
augment = { policy = "rand-m9-mstd0.5-inc1", erase = 0.25, interpolation = "bicubic" }
"""


def over_torch(files, sample):
    return loader_peers.over_torch(files, 1, sample)


def augmented(files, open_image, interpolation, to_tensor):
    """DeiT's augmentation of torchvision's parts. timm applies each of its two layers half the time, so this does, too;
    its operations are torchvision's, of the same magnitude."""
    from torchvision.transforms import InterpolationMode, v2

    layer = v2.RandomApply([v2.RandAugment(num_ops=1, magnitude=9, interpolation=interpolation, fill=[124, 116, 104])])
    steps = v2.Compose([
        v2.RandomResizedCrop(SIZE, SCALE, RATIO, interpolation=InterpolationMode.BICUBIC, antialias=True),
        v2.RandomHorizontalFlip(), layer, layer, *to_tensor, v2.Normalize(MEAN, STD),
        v2.RandomErasing(0.25, scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3), value="random"),
    ])
    return over_torch(files, lambda path: steps(open_image(path)))


def pil(files, _):
    import torch
    from PIL import Image
    from torchvision.transforms import InterpolationMode, v2

    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    return augmented(files, lambda path: Image.open(path).convert("RGB"), InterpolationMode.BICUBIC, to_tensor)


def io(files, _):
    import torch
    from torchvision.io import ImageReadMode, decode_image, read_file
    from torchvision.transforms import InterpolationMode, v2

    def read(path):
        return decode_image(read_file(path), mode=ImageReadMode.RGB)

    # Tensors are not moved with cubic interpolation.
    return augmented(files, read, InterpolationMode.BILINEAR, [v2.ToDtype(torch.float32, scale=True)])


def timm(files, _):
    from PIL import Image
    from timm.data import create_transform

    steps = create_transform(
        SIZE, is_training=True, color_jitter=None, auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic",
        re_prob=0.25, re_mode="pixel",
    )
    return over_torch(files, lambda path: steps(Image.open(path).convert("RGB")))


PEERS = {"torchvision-pil": pil, "torchvision-io": io, "timm": timm}
