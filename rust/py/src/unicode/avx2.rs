//! Text sixteen characters at a time, on x86-64 processors with AVX2, which is found out at run
//! time.

pub(super) mod read;
pub(super) mod write;

/// Whether this processor has what is needed here.
pub(super) fn is_supported() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("popcnt")
}
