//! How the story looks on a terminal.

use std::io::{IsTerminal as _, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The home network, for the reader.
pub(super) const MAP: &str = "
   192.168.88.10            10.0.2.1, AS 65530                10.0.2.11  n1 ┐
   ┌──────────┐             ┌──────────────┐    10.0.2.0/23   10.0.2.12  n2 ├ nodes, AS 64500
   │ computer ├─────────────┤ router (FRR) ├──────────────────10.0.2.13  n3 ┘
   └──────────┘             └──────────────┘
                             addresses for Services: 10.0.4.0/23, on no interface of anybody
";

/// Prints the story and the time since it began.
pub struct Screen {
    start: Instant,
    colour: bool,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Screen {
    /// On the terminal.
    #[must_use]
    pub fn terminal() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { start: Instant::now(), colour, out: Mutex::new(Box::new(std::io::stdout())) }
    }

    /// Into a file or a buffer, without colours.
    #[must_use]
    pub fn writing_to(out: impl Write + Send + 'static) -> Self {
        Self { start: Instant::now(), colour: false, out: Mutex::new(Box::new(out)) }
    }

    /// A new part of the story.
    pub fn chapter(&self, title: &str) {
        let time = format!("[{:5.1} s]", self.start.elapsed().as_secs_f64());
        self.print(&format!("\n{} {}\n", self.paint("2", &time), self.paint("1", title)));
    }

    /// A command that the reader could type.
    pub fn command(&self, words: &str) {
        self.print(&format!("  {} {}\n", self.paint("32", "$"), self.paint("36", words)));
    }

    /// What a command answered.
    pub fn output(&self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            self.print(&format!("    {line}\n"));
        }
    }

    /// What the narrator has to say.
    pub fn note(&self, text: &str) {
        self.print(&format!("  {text}\n"));
    }

    /// Text as it is.
    pub fn text(&self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// The time since the story began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A reader who went away (a closed pipe) does not end the story.
    fn print(&self, text: &str) {
        if let Ok(mut out) = self.out.lock() {
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

/// `23 ms` or `14.3 s`.
#[must_use]
pub(super) fn duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
