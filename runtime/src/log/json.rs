//! One JSON object a line: `ts`, `level`, `msg`, `target`, then the fields of the spans around the event and its own.
//!
//! Leaves out colours and nesting: a flat object is what log collectors index. A field that would hide one of the four
//! keys gets a trailing underscore; an event's field hides a span's of the same name.

use std::fmt;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

const KEYS: [&str; 4] = ["ts", "level", "msg", "target"];

/// The form of the lines.
pub(super) struct Lines;

impl<S> FormatEvent<S, JsonFields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(text) = span.extensions().get::<FormattedFields<JsonFields>>() {
                fields.take(text.fields.as_str());
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let level = metadata.level().as_str().to_ascii_lowercase();
        write!(
            writer,
            "{{\"ts\":{},\"level\":{},\"msg\":{},\"target\":{}",
            Value::from(format!("{:.6}", Timestamp::now())),
            Value::from(level),
            Value::from(fields.message),
            Value::from(metadata.target())
        )?;
        for (key, value) in fields.values {
            write!(writer, ",{}:{value}", Value::from(key))?;
        }
        writeln!(writer, "}}")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    values: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        let key = if KEYS.contains(&name) { format!("{name}_") } else { name.to_owned() };
        match self.values.iter_mut().find(|(known, _)| *known == key) {
            Some(known) => known.1 = value,
            None => self.values.push((key, value)),
        }
    }

    fn record(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            (name, value) => self.put(name, value),
        }
    }

    /// Takes the fields of a span, which are kept as JSON text.
    fn take(&mut self, text: &str) {
        if let Ok(Value::Object(values)) = serde_json::from_str(text) {
            for (name, value) in values {
                self.put(&name, value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.record(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record(field, Value::from(value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, Value::from(format!("{value:?}")));
    }
}
