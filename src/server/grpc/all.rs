//! Several checks of which all count or none does: what Envoy's one answer for many descriptors
//! means.
//!
//! All are decided, and counted, as one batch. If any does not pass, what the others counted is given
//! back, each into the bucket that it was counted in. So never more is granted than a limit, and in
//! between, for one more round trip to the owners, a part counts although it will be given back:
//! another request at that moment may be denied that would have passed. What cannot be given back
//! for certain, because its answer was lost or the node stopped meanwhile, stays counted until its
//! window has passed.

use std::time::Duration;

use futures_util::future::join_all;

use super::ask::Part;
use crate::protocol::error::WireError;
use crate::server::service::Service;
use crate::server::{Decided, Desk, Mode};

/// Least time that giving back is given: nobody may wait any more, but it should be done.
const UNDO_TIME: Duration = Duration::from_secs(1);

/// Decides `parts`; what was counted is given back unless all pass. The answers are in their order;
/// an answer whose permits were given back says what is left since.
pub(super) async fn count_all<S: Service>(
    desk: &Desk<S>,
    parts: &[Part],
    left: Duration,
) -> Vec<Decided> {
    let asks: Vec<_> = parts.iter().map(Part::ask).collect();
    let mut decided = desk.decide(&asks, Mode::Count, left).await;
    if decided.iter().all(passes) {
        return decided;
    }
    let undoing = parts.iter().zip(&mut decided).filter_map(|(part, answer)| {
        let decision = answer.as_mut().ok().filter(|it| it.allowed)?;
        Some(async move {
            match part.undo(desk, decision, left.max(UNDO_TIME)).await {
                Ok(permits) => decision.remaining = decision.remaining.saturating_add(permits),
                Err(error) => {
                    tracing::debug!(%error, "a part of a denied request stays counted");
                }
            }
        })
    });
    join_all(undoing).await;
    decided
}

/// Whether it may pass.
pub(super) fn passes(answer: &Decided) -> bool {
    answer.as_ref().is_ok_and(|decision| decision.allowed)
}

/// Whether it is over its limit: denied, or asked for more than can ever pass.
pub(super) fn is_over(answer: &Decided) -> bool {
    match answer {
        Ok(decision) => !decision.allowed,
        Err(error) => matches!(error, WireError::CostAboveLimit { .. }),
    }
}
