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
