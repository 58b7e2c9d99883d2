//! The limiter in process against the `governor` crate: a million keys, one thread, singly and in
//! batches of 64. `cargo bench --bench in_process`.
#![expect(clippy::expect_used, reason = "a failed set-up fails the benchmark")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use distributed_rate_limiter::limiter::policy::{Limit, Policy, PolicySet};
use distributed_rate_limiter::node::{Limiter, LimiterOptions};
use governor::{DefaultKeyedRateLimiter, Quota};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const KEYS: usize = 1_000_000;
const BATCH: usize = 64;

fn keys() -> Vec<String> {
    (0..KEYS).map(|n| format!("user-{n}")).collect()
}

fn limiter() -> Limiter {
    let mut set = PolicySet::default();
    let limit: Limit = "100/min".parse().expect("a limit");
    set.policies.insert("api".to_owned(), Policy::new(limit));
    Limiter::open(LimiterOptions::in_memory(set)).expect("an in-memory limiter opens")
}

fn in_process(criterion: &mut Criterion) {
    let keys = keys();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group("1M keys, one thread");
    group.throughput(Throughput::Elements(BATCH as u64));

    let quota = Quota::per_minute(100.try_into().expect("not zero"));
    let governor = DefaultKeyedRateLimiter::<String>::keyed(quota);
    for key in &keys {
        drop(governor.check_key(key));
    }
    let mut random = StdRng::seed_from_u64(1);
    // Fresh strings, as keys are that have just come in: in the processor's cache. They are freed
    // outside of the measurement, for all alike.
    let mut pick = || -> Vec<String> {
        (0..BATCH)
            .map(|_| keys[random.random_range(0..KEYS)].clone())
            .collect()
    };
    group.bench_function("governor", |bench| {
        bench.iter_batched_ref(
            &mut pick,
            |batch| {
                batch
                    .iter()
                    .filter(|key| governor.check_key(key).is_ok())
                    .count()
            },
            BatchSize::NumIterations(8),
        );
    });
    drop(governor);

    let limiter = limiter();
    for key in &keys {
        drop(runtime.block_on(limiter.check("api", key, 1)));
    }
    group.bench_function("singly", |bench| {
        bench.iter_batched_ref(
            &mut pick,
            |batch| {
                runtime.block_on(async {
                    let mut allowed = 0;
                    for key in batch.iter() {
                        allowed += usize::from(
                            limiter.check("api", key, 1).await.is_ok_and(|d| d.allowed),
                        );
                    }
                    allowed
                })
            },
            BatchSize::NumIterations(8),
        );
    });
    group.bench_function("batches of 64", |bench| {
        bench.iter_batched_ref(
            &mut pick,
            |keys| {
                let batch: Vec<_> = keys.iter().map(|key| ("api", key.as_str(), 1)).collect();
                runtime.block_on(limiter.check_many(&batch))
            },
            BatchSize::NumIterations(8),
        );
    });
    group.finish();
}

criterion_group!(benches, in_process);
criterion_main!(benches);
