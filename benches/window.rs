//! Decisions on one key's state, by how full it is. `cargo bench --bench window`.
#![expect(clippy::expect_used, reason = "a failed set-up fails the benchmark")]

use criterion::{Criterion, criterion_group, criterion_main};
use distributed_rate_limiter::SlotTime;
use distributed_rate_limiter::limiter::KeyState;
use distributed_rate_limiter::limiter::policy::Limits;

fn window(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one key");
    for (name, texts) in [
        ("one limit", &["100000/min"][..]),
        ("two limits", &["100000/min", "1000000/hour"]),
    ] {
        let limits = texts.iter().map(|text| text.parse().expect("a limit"));
        let limits = Limits::new(limits.collect()).expect("one or two limits");
        // Time goes on by a fifth of a bucket a check, so the window is full of buckets.
        let (mut state, mut now) = (KeyState::new(), SlotTime::ZERO);
        group.bench_function(format!("{name}, granted"), |bench| {
            bench.iter(|| {
                now = now.plus_ms(100);
                state.check(&limits, 1, now)
            });
        });
        state
            .check(&limits, 90_000, now)
            .expect("no more than the limit");
        group.bench_function(format!("{name}, denied"), |bench| {
            bench.iter(|| state.check(&limits, 20_000, now));
        });
    }
    group.finish();
}

criterion_group!(benches, window);
criterion_main!(benches);
