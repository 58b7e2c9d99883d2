//! Families of samples as text.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::telemetry::{BOUNDS_US, DurationCounts};

/// The media type of the text.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Labels of a sample.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Samples of one name.
#[derive(Debug, Clone)]
pub(super) struct Family {
    /// Without `_total`, which a counter gets.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) samples: Samples,
}

/// What a family holds.
#[derive(Debug, Clone)]
pub(super) enum Samples {
    /// What only grows.
    Counters(Vec<(Labels, u64)>),
    /// What goes up and down.
    Gauges(Vec<(Labels, f64)>),
    /// A histogram: upper bounds with how many are in each, not summed up; and the sum.
    Histogram { buckets: Vec<(f64, u64)>, sum: f64 },
}

/// A counter without labels.
pub(super) fn counter(name: &'static str, help: &'static str, value: u64) -> Family {
    counters(name, help, vec![(Labels::new(), value)])
}

/// Counters with labels.
pub(super) const fn counters(
    name: &'static str,
    help: &'static str,
    samples: Vec<(Labels, u64)>,
) -> Family {
    Family {
        name,
        help,
        samples: Samples::Counters(samples),
    }
}

/// A gauge without labels.
pub(super) fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
    gauges(name, help, vec![(Labels::new(), value)])
}

/// Gauges with labels.
pub(super) const fn gauges(
    name: &'static str,
    help: &'static str,
    samples: Vec<(Labels, f64)>,
) -> Family {
    Family {
        name,
        help,
        samples: Samples::Gauges(samples),
    }
}

/// A histogram of durations in seconds.
pub(super) fn durations(
    name: &'static str,
    help: &'static str,
    counted: &DurationCounts,
) -> Family {
    let bounds = BOUNDS_US.iter().map(|us| float(*us) / 1e6);
    let bounds = bounds.chain([f64::INFINITY]);
    Family {
        name,
        help,
        samples: Samples::Histogram {
            buckets: bounds.zip(counted.counts).collect(),
            sum: float(counted.sum_ns) / 1e9,
        },
    }
}

/// A number as gauges have it; above 2^53 it is rounded, which no reader of a gauge minds.
#[expect(clippy::cast_precision_loss, reason = "the format has floats only")]
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

/// Milliseconds as seconds.
pub(super) const fn seconds(ms: u64) -> f64 {
    float(ms) / 1000.0
}

/// All families as text.
pub(super) fn text(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(families)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page(Vec<Family>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let kind = match family.samples {
                Samples::Counters(_) => MetricType::Counter,
                Samples::Gauges(_) => MetricType::Gauge,
                Samples::Histogram { .. } => MetricType::Histogram,
            };
            let metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            family.samples.encode(metric)?;
        }
        Ok(())
    }
}

impl Samples {
    fn encode(&self, mut metric: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counters(samples) => {
                for (labels, value) in samples {
                    let mut sample = metric.encode_family(labels)?;
                    sample.encode_counter::<NoLabelSet, _, f64>(value, None)?;
                }
            }
            Self::Gauges(samples) => {
                for (labels, value) in samples {
                    metric.encode_family(labels)?.encode_gauge(value)?;
                }
            }
            Self::Histogram { buckets, sum } => {
                let count = buckets.iter().map(|(_, count)| count).sum();
                metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)?;
            }
        }
        Ok(())
    }
}
