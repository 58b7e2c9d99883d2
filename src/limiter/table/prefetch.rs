//! Asks the processor to fetch a record before it is needed: the one unsafe line of the crate.

/// Starts to load the cache line at `address`. It is a hint: any address is allowed, also one
/// that was freed meanwhile.
#[inline]
pub(super) fn prefetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "a prefetch never faults and changes no value")]
    // SAFETY: PREFETCHT0 does not access memory as the program sees it; invalid addresses are
    // ignored by the processor.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
