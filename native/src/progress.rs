//! Progress of long work on stderr: a bar on a terminal, a plain line now and then in a log. And numbers as people
//! read them.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anaume_core::plot::grouped;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::japanese::{message, word};

/// Shortest time between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// How far a long piece of work is. It may be shared between threads.
pub struct Progress {
    total: u64,
    unit: &'static str,
    display: Display,
}

enum Display {
    Bar(ProgressBar),
    Plain(Mutex<Plain>),
}

struct Plain {
    started_at: Instant,
    first_position: u64,
    position: u64,
    /// When the last line was written.
    written_at: Instant,
}

impl Progress {
    /// Work of `total` units, named in the plural as in `steps`, of which `position` were done before; the remaining time
    /// is judged from what is done from now on.
    pub fn new(total: u64, unit: &'static str, position: u64) -> Self {
        let unit = word(unit);
        if is_watched() { Self::bar(total, unit, position) } else { Self::plain(total, unit, position) }
    }

    fn bar(total: u64, unit: &'static str, position: u64) -> Self {
        let style = ProgressStyle::with_template("{counts} {percent}% {wide_bar:.cyan/dim} {msg}  {left}")
            .expect("the template is well-formed")
            .progress_chars("━╸─")
            .with_key("counts", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}/{} {unit}", format_count(state.pos()), format_count(total));
            })
            .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let left = match state.is_finished() {
                    true => format!("in {}", format_duration(state.elapsed())),
                    false => format!("ETA {}", format_duration(state.eta())),
                };
                let _ = out.write_str(&message(&left));
            });
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8)).with_style(style);
        bar.set_position(position);
        bar.reset_eta();
        Self { total, unit, display: Display::Bar(bar) }
    }

    fn plain(total: u64, unit: &'static str, position: u64) -> Self {
        let now = Instant::now();
        let plain = Plain { started_at: now, first_position: position, position, written_at: now };
        let progress = Self { total, unit, display: Display::Plain(Mutex::new(plain)) };
        progress.note(&format!("{}/{} {unit}", format_count(position), format_count(total)));
        progress
    }

    /// Sets how many units are done and what there is to say about it (loss, tokens per second).
    pub fn set(&self, position: u64, remark: &str) {
        match &self.display {
            Display::Bar(bar) => {
                bar.set_message(message(remark).into_owned());
                bar.set_position(position);
            }
            Display::Plain(plain) => {
                let mut plain = plain.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                plain.position = position;
                if plain.written_at.elapsed() >= PLAIN_INTERVAL {
                    plain.written_at = Instant::now();
                    eprintln!("{}", plain.line(self.total, self.unit, remark, plain.started_at.elapsed()));
                }
            }
        }
    }

    /// Writes a line of its own, above a bar.
    pub fn note(&self, line: &str) {
        match &self.display {
            Display::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Display::Plain(_) => eprintln!("{line}"),
        }
    }

    /// Ends the work where it stands, with a last message and the time it took.
    pub fn finish(self, remark: &str) {
        match &self.display {
            Display::Bar(bar) => bar.abandon_with_message(message(remark).into_owned()),
            Display::Plain(plain) => {
                let plain = plain.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let (done, total) = (format_count(plain.position), format_count(self.total));
                let time = format!("in {}", format_duration(plain.started_at.elapsed()));
                let counts = format!("{done}/{total} {}", self.unit);
                eprintln!("{}", join(&[&counts, remark, &time]));
            }
        }
    }
}

impl Plain {
    fn line(&self, total: u64, unit: &str, remark: &str, elapsed: Duration) -> String {
        let percent = if total == 0 { 100 } else { (u128::from(self.position) * 100 / u128::from(total)) as u64 };
        let counts = format!("{}/{} {unit} {percent}%", format_count(self.position), format_count(total));
        let eta = self.time_left(total, elapsed).map_or(String::new(), |left| format!("ETA {}", format_duration(left)));
        join(&[&counts, remark, &eta])
    }

    /// Nothing while there is nothing to judge from.
    fn time_left(&self, total: u64, elapsed: Duration) -> Option<Duration> {
        let done_now = self.position.saturating_sub(self.first_position) as f64;
        let left = total.saturating_sub(self.position) as f64;
        Duration::try_from_secs_f64(elapsed.as_secs_f64() * left / done_now).ok()
    }
}

fn join(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).map(|part| message(part)).collect::<Vec<_>>().join("  ")
}

/// Whether a person looks at stderr, so that what redraws itself can be shown: `NO_COLOR` and `CI` say that nobody looks at one.
pub fn is_watched() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_set("NO_COLOR") && !is_set("CI")
}

/// `12,345`.
pub fn format_count(count: u64) -> String {
    grouped(&count.to_string())
}

/// `4.2s`, `3m 05s`, `2h 07m`, `5d 03h`.
pub fn format_duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{secs}s"),
        60..3_600 => format!("{}m {:02}s", secs / 60, secs % 60),
        3_600..86_400 => format!("{}h {:02}m", secs / 3_600, secs / 60 % 60),
        _ => format!("{}d {:02}h", secs / 86_400, secs / 3_600 % 24),
    }
}

/// `512 B`, `1.5 KiB`, `292 MiB`: binary units.
pub fn format_bytes(bytes: u64) -> String {
    let (value, prefix) = scaled(bytes as f64, 1024.0, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]);
    format!("{value} {prefix}B")
}

/// `950`, `12.3k`, `1.25M`, `40G`: three significant digits and a decimal prefix, for rates and FLOPs.
pub fn format_si(value: f64) -> String {
    let (value, prefix) = scaled(value, 1000.0, &["", "k", "M", "G", "T", "P", "E"]);
    value + prefix
}

/// Three significant digits of a value between 1 and the base, and its prefix.
fn scaled(mut value: f64, base: f64, prefixes: &'static [&'static str]) -> (String, &'static str) {
    let mut power = 0;
    while value.abs() >= base - 0.5 && power + 1 < prefixes.len() {
        value /= base;
        power += 1;
    }
    let decimals = [100.0, 10.0].iter().filter(|limit| value.abs() < **limit).count();
    let digits = format!("{value:.decimals$}");
    let digits = if decimals > 0 { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    (digits.to_owned(), prefixes[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_thousands_separators() {
        let counts = [0, 999, 1_000, 12_345, 1_234_567, u64::MAX].map(format_count);
        assert_eq!(counts, ["0", "999", "1,000", "12,345", "1,234,567", "18,446,744,073,709,551,615"]);
    }

    #[test]
    fn durations_have_two_units() {
        let durations =
            [0.0, 4.25, 42.9, 185.0, 7_620.0, 442_800.0].map(|secs| format_duration(Duration::from_secs_f64(secs)));
        assert_eq!(durations, ["0.0s", "4.2s", "42s", "3m 05s", "2h 07m", "5d 03h"]);
    }

    #[test]
    fn sizes_are_binary_and_rates_decimal() {
        assert_eq!(
            [0, 512, 1_536, 305_970_000, u64::MAX].map(format_bytes),
            ["0 B", "512 B", "1.5 KiB", "292 MiB", "16 EiB"]
        );
        let rates = [0.0, 0.25, 950.0, 999.7, 12_345.0, 1.25e6, 4e10, 1e21, -1_500.0].map(format_si);
        assert_eq!(rates, ["0", "0.25", "950", "1k", "12.3k", "1.25M", "40G", "1000E", "-1.5k"]);
    }

    #[test]
    fn the_remaining_time_is_judged_from_this_session_only() {
        let now = Instant::now();
        let plain = Plain { started_at: now, first_position: 9_000, position: 9_100, written_at: now };
        let line = plain.line(10_000, "steps", "loss 2.5", Duration::from_secs(10));
        assert_eq!(line, "9,100/10,000 steps 91%  loss 2.5  ETA 1m 30s");
    }

    #[test]
    fn nothing_done_or_nothing_to_do_has_no_estimate() {
        let now = Instant::now();
        let plain = Plain { started_at: now, first_position: 0, position: 0, written_at: now };
        assert_eq!(plain.line(10, "files", "", Duration::from_secs(1)), "0/10 files 0%");
        assert_eq!(plain.line(0, "files", "", Duration::from_secs(1)), "0/0 files 100%");
        assert_eq!(plain.line(u64::MAX, "tokens", "", Duration::MAX), "0/18,446,744,073,709,551,615 tokens 0%");
    }
}
