//! Has the system keep a large table in huge pages: a check at a random key otherwise spends more
//! time on finding its page than on the record.

use std::collections::BTreeSet;

use super::striped::{STRIPES, Table};
use crate::limiter::key_state::KeyState;

/// Size of a huge page, and what it is aligned to.
const PAGE_BYTES: usize = 2 << 20;

/// A table of fewer bytes is left alone: the processor finds its pages fast enough.
const TABLE_BYTES_MIN: u64 = 8 << 20;

/// Most pages asked for at once; each is copied, in a few tenths of a millisecond.
const PAGES_MAX: usize = 64;

/// The pages that were asked for, by number; as many as the table has ever lain in.
#[derive(Debug, Default)]
pub(super) struct HugePages {
    asked: BTreeSet<usize>,
}

impl Table {
    /// Asks for huge pages under records and buckets that lie in others, a bounded number; to be
    /// called now and then in the background.
    pub(crate) fn settle_pages(&self) {
        if self.counters().bytes < TABLE_BYTES_MIN {
            return;
        }
        let mut pages = self.huge_pages.lock();
        let mut wanted = BTreeSet::new();
        for n in 0..STRIPES {
            let stripe = self.lock_nth(n);
            let (address, places) = stripe.records.place_hint();
            let end = address.saturating_add(places.saturating_mul(super::records::RECORD_BYTES));
            let heap = stripe
                .records
                .iter()
                .filter_map(|r| KeyState::heap_hint(&r.state));
            wanted.extend(address / PAGE_BYTES..end.div_ceil(PAGE_BYTES));
            wanted.extend(heap.map(|address| address / PAGE_BYTES));
        }
        for page in wanted.difference(&pages.asked.clone()).take(PAGES_MAX) {
            ask_for(page.saturating_mul(PAGE_BYTES));
            pages.asked.insert(*page);
        }
    }
}

/// Asks for the huge page at `address`. It is a hint: a system that has none is as before, and
/// memory that was freed meanwhile is no harm.
fn ask_for(address: usize) {
    #[cfg(target_os = "linux")]
    {
        /// Since Linux 6.1; an older one refuses it, and moves pages by itself in time.
        const MADV_COLLAPSE: i32 = 25;
        let pointer = std::ptr::without_provenance_mut(address);
        #[expect(unsafe_code, reason = "advice moves pages and changes no value")]
        // SAFETY: neither advice changes what memory holds or whether it is mapped; addresses that
        // are not mapped are answered by an error.
        unsafe {
            libc::madvise(pointer, PAGE_BYTES, libc::MADV_HUGEPAGE);
            libc::madvise(pointer, PAGE_BYTES, MADV_COLLAPSE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = address;
}
