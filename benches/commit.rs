//! Packing what has changed into one commit record, without writing it.
//! `cargo bench --features internals --bench commit`.
#![expect(clippy::expect_used, reason = "a failed set-up fails the benchmark")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use distributed_rate_limiter::SlotTime;
use distributed_rate_limiter::internals::Commits;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn commit(criterion: &mut Criterion) {
    let mut random = StdRng::seed_from_u64(1);
    let keys: Vec<u128> = (0..100_000).map(|_| random.random()).collect();
    let mut group = criterion.benchmark_group("checks and their commit");
    for checks in [1, 16, 256] {
        let mut commits = Commits::new("1000000/min".parse().expect("a limit"));
        let mut now = SlotTime::ZERO;
        let mut next = keys.iter().cycle();
        group.throughput(Throughput::Elements(checks));
        group.bench_function(checks.to_string(), |bench| {
            bench.iter(|| {
                now = now.plus_ms(1);
                for key in next.by_ref().take(usize::try_from(checks).unwrap_or(1)) {
                    commits.check(*key, now);
                }
                commits.commit(now)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
