//! Rows of states to bytes and back. `cargo bench --features internals --bench codec`.
#![expect(clippy::expect_used, reason = "a failed set-up fails the benchmark")]

use criterion::{Criterion, criterion_group, criterion_main};
use distributed_rate_limiter::SlotTime;
use distributed_rate_limiter::internals::{decode, encode};
use distributed_rate_limiter::limiter::KeyState;
use distributed_rate_limiter::limiter::policy::Limits;

fn codec(criterion: &mut Criterion) {
    let limit = "1000/min".parse().expect("a limit");
    let limits = Limits::new(vec![limit]).expect("one limit");
    let mut group = criterion.benchmark_group("row");
    for buckets in [1, 120] {
        let mut state = KeyState::new();
        for n in 0..buckets {
            let now = SlotTime::from_ms(n * 500);
            state
                .check(&limits, 1, now)
                .expect("no more than the limit");
        }
        let row = encode(&state, &limits);
        group.bench_function(format!("encode, {buckets} buckets"), |bench| {
            bench.iter(|| encode(&state, &limits));
        });
        group.bench_function(format!("decode, {buckets} buckets"), |bench| {
            bench.iter(|| decode(&row));
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
