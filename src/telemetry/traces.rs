//! Traces of requests, sent to an OpenTelemetry collector (OTLP over gRPC).
//!
//! Only a request whose `traceparent` says that it is sampled gets a span: whoever asks decides, and
//! all others cost a look for that header. Whatever is wrong with the collector is logged, and stops
//! nothing: spans wait in a queue of bounded length, and are dropped when it is full.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, Method};
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::runtime::{Builder, Runtime};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetrySpanExt as _, layer};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::LogFormat;

/// Whether anybody takes spans.
static ON: AtomicBool = AtomicBool::new(false);

/// Why no traces are sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoTraces {
    /// Not an address of a collector.
    #[error("`{url}` is no collector's address; write it like \"http://127.0.0.1:4317\"")]
    Url { url: String },
    /// The exporter cannot be made.
    #[error("cannot send traces to {url}; write it like \"http://127.0.0.1:4317\"")]
    Exporter {
        url: String,
        #[source]
        source: ExporterBuildError,
    },
    /// Its thread cannot be started.
    #[error("cannot start the thread that sends traces")]
    Thread(#[source] std::io::Error),
}

/// Sends spans until it is dropped, which sends those that wait.
#[derive(Debug)]
pub(super) struct Sending {
    provider: SdkTracerProvider,
    runtime: Option<Runtime>,
}

impl Sending {
    /// Begins to send spans of the returned tracer to the collector at `url`.
    pub(super) fn start(url: &str) -> Result<(Self, SdkTracer), NoTraces> {
        if !url.starts_with("http://") {
            let url = url.to_owned();
            return Err(NoTraces::Url { url });
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()
            .map_err(NoTraces::Thread)?;
        let entered = runtime.enter();
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(url);
        let exporter = exporter.build().map_err(|source| NoTraces::Exporter {
            url: url.to_owned(),
            source,
        })?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .with_resource(Resource::builder().with_service_name("ratelimitd").build())
            .build();
        drop(entered);
        let tracer = provider.tracer("distributed-rate-limiter");
        ON.store(true, Ordering::Release);
        let runtime = Some(runtime);
        Ok((Self { provider, runtime }, tracer))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        ON.store(false, Ordering::Release);
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces were not sent");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Log lines as without traces, with spans going to `tracer` too.
pub(super) fn lines<W>(
    format: LogFormat,
    (filter, colour): (EnvFilter, bool),
    writer: W,
    tracer: SdkTracer,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colour);
    match format {
        LogFormat::Human => Box::new(lines.finish().with(layer().with_tracer(tracer))),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).finish();
            Box::new(lines.with(layer().with_tracer(tracer)))
        }
    }
}

/// The span of a request over HTTP that is sampled; else none. It tells no key: of the path only the
/// first two parts.
pub(crate) fn request_span(method: &Method, path: &str, headers: &HeaderMap) -> Span {
    if !ON.load(Ordering::Acquire) {
        return Span::none();
    }
    let parent = headers.get("traceparent").and_then(|it| it.to_str().ok());
    let Some(parent) = parent.and_then(sampled) else {
        return Span::none();
    };
    let end = path.match_indices('/').nth(2).map_or(path.len(), |it| it.0);
    let route = path.get(..end).unwrap_or_default();
    // So that no level of logs leaves it out.
    let span = tracing::error_span!(
        "request",
        "http.request.method" = %method,
        "http.route" = route,
        "http.response.status_code" = tracing::field::Empty
    );
    let parent = Context::new().with_remote_span_context(parent);
    if span.set_parent(parent).is_err() {
        return Span::none();
    }
    span
}

/// The parent that a `traceparent` names (W3C Trace Context, level 1), if it is sampled.
fn sampled(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let are_hex = [(version, 2), (trace, 32), (span, 16), (flags, 2)]
        .iter()
        .all(|(part, length)| part.len() == *length && part.bytes().all(|b| b.is_ascii_hexdigit()));
    if !are_hex || version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
    (flags & 1 == 1 && context.is_valid()).then_some(context)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_a_sampled_parent_is_taken() {
        assert!(sampled(SAMPLED).is_some());
        for other in [
            "",
            "00",
            &SAMPLED.replace("-01", "-00"),
            &SAMPLED.replace("4bf9", "4bfz"),
            &format!("{SAMPLED}-00"),
            &SAMPLED.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(sampled(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_sampled_request_is_told_to_the_collector_and_others_have_no_span() {
        for bad in ["", "ftp://x", "127.0.0.1:4317"] {
            assert!(matches!(Sending::start(bad), Err(NoTraces::Url { .. })));
        }
        let mut headers = HeaderMap::new();
        let span = |headers: &HeaderMap| request_span(&Method::GET, "/v1/keys/api/me", headers);
        headers.insert("traceparent", SAMPLED.parse().unwrap());
        assert!(span(&headers).is_none(), "nobody takes it");
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", collector.local_addr().unwrap());
        let (sending, tracer) = Sending::start(&url).unwrap();
        let layer = layer().with_tracer(tracer);
        let lines = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(lines, || {
            assert!(span(&HeaderMap::new()).is_none());
            assert!(!span(&headers).is_none());
        });
        let told = std::thread::spawn(move || {
            let mut begun = [0; 14];
            let (mut stream, _) = collector.accept().unwrap();
            stream.read_exact(&mut begun).unwrap();
            begun
        });
        // Sends what waits; this collector hangs up then, which stops nothing.
        drop(sending);
        assert_eq!(&told.join().unwrap(), b"PRI * HTTP/2.0");
    }
}
