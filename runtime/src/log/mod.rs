//! Logging: text for people on a terminal, one JSON object a line otherwise, and a level that can change at run time.
//!
//! Leaves out what is logged. Libraries below Herald stay at warnings unless they are named or the level is `trace`. A release has
//! no lines of that level itself (`docs/adr/0068`): there `trace` is the `debug` of everything, libraries included.

mod json;
mod level;

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

pub use level::{LevelFault, check_level};

use crate::settings::LogFormat;

/// Changes the level of a running process. Clones change the same level.
#[derive(Clone, Debug)]
pub struct LevelHandle {
    filter: Option<reload::Handle<Targets, Registry>>,
    current: tokio::sync::watch::Sender<String>,
}

impl LevelHandle {
    /// Sets the level: one of off, error, warn, info, debug, trace, or a list such as `info,speaker=debug`.
    ///
    /// # Errors
    /// [`LevelFault`] when the text is neither.
    pub fn set(&self, level: &str) -> Result<(), LevelFault> {
        let targets = level::parse(level)?;
        if let Some(filter) = &self.filter {
            filter.reload(targets).map_err(|_| LevelFault::NoLog)?;
        }
        self.current.send_replace(level.trim().to_owned());
        Ok(())
    }

    /// The level as it was set last.
    #[must_use]
    pub fn current(&self) -> String {
        self.current.borrow().clone()
    }
}

/// Starts logging to standard output, and logs panics as errors. A second call in one process changes nothing but
/// returns a handle all the same (tests).
///
/// # Errors
/// [`LevelFault`] when the level cannot be read.
pub fn init(level: &str, format: LogFormat) -> Result<LevelHandle, LevelFault> {
    let (filter, handle) = reload::Layer::new(level::parse(level)?);
    let json = match format {
        LogFormat::Auto => !std::io::stdout().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let layer = if json {
        tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(json::Lines)
            .with_filter(filter)
            .boxed()
    } else {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing_subscriber::fmt::layer().with_ansi(colour).with_filter(filter).boxed()
    };
    let started = tracing_subscriber::registry().with(layer).try_init().is_ok();
    if started {
        log_panics();
    }
    Ok(LevelHandle {
        filter: started.then_some(handle),
        current: tokio::sync::watch::Sender::new(level.trim().to_owned()),
    })
}

/// A panic becomes a log line before the process ends, so that it is found where everything else is.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, panic = panic.payload_as_str().unwrap_or("unknown"), "panic");
        before(panic);
    }));
}

#[cfg(test)]
mod tests;
