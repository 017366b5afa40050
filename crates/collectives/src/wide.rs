//! `widest`: loops over numbers, compiled for the widest vectors that this processor has.

/// Runs `work`, whose loops are compiled anew for each kind of processor. All give the same bits: nothing is summed in another
/// order, and no product is fused with a sum.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn widest(work: impl FnOnce()) {
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
        // SAFETY: the processor has what the function is compiled for (AVX-512BW brings AVX-512F).
        return unsafe { with_avx512(work) };
    }
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { with_avx2(work) };
    }
    work();
}

/// Runs `work`: the vectors of this kind of processor are known when it is compiled.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn widest(work: impl FnOnce()) {
    work();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn with_avx512(work: impl FnOnce()) {
    work(); // is inlined here, and so compiled for what this function may use
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(work: impl FnOnce()) {
    work();
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::form::{Bf16, Form};

    #[inline(always)]
    fn round(numbers: &[f32], bytes: &mut [u8]) {
        bytes.chunks_exact_mut(2).zip(numbers).for_each(|(bytes, &number)| Bf16::write(number, bytes));
    }

    #[test]
    fn all_widths_give_the_same_bits() {
        // Every exponent, either sign, NaNs and infinities among them.
        let numbers: Vec<_> = (0..100_003_u32).map(|index| f32::from_bits(index.wrapping_mul(0x9e37_79b9))).collect();
        let [mut plain, mut avx2, mut avx512] = [(); 3].map(|()| vec![0; 2 * numbers.len()]);
        round(&numbers, &mut plain);
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has it.
            unsafe { with_avx2(|| round(&numbers, &mut avx2)) };
            assert!(avx2 == plain, "AVX2");
        }
        if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
            // SAFETY: the processor has it.
            unsafe { with_avx512(|| round(&numbers, &mut avx512)) };
            assert!(avx512 == plain, "AVX-512");
        }
    }
}
