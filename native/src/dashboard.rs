//! How a training run shows how it goes: a dashboard on a terminal, lines elsewhere.

use std::io::{IsTerminal, Stderr, stderr, stdout};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anaume_core::report::{StepRecord, ValidationRecord};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Widget};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use unicode_width::UnicodeWidthStr;

use crate::japanese::{message, word};
use crate::progress::{Progress, format_bytes, format_count, format_duration, format_si, is_watched};

/// Shortest time between two pictures.
const INTERVAL: Duration = Duration::from_millis(250);
/// Lines of the dashboard, and the least that a terminal must have.
const HEIGHT: u16 = 16;
const SMALLEST: (u16, u16) = (70, HEIGHT + 4);
/// Points of a curve, beyond which every second one goes.
const MOST_POINTS: usize = 4096;
/// Weight of a new loss in the smoothed one.
const SMOOTHING: f64 = 0.05;

/// Where a training run is watched.
pub enum Watch {
    /// A line now and then, or a bar.
    Lines(Progress),
    /// A picture that is drawn again and again.
    Dashboard(Box<Mutex<Dashboard>>),
}

impl Watch {
    /// Of a run of `total` steps, `done` of which are behind it. A terminal that is large enough gets a dashboard unless `plain`.
    pub fn new(total: u64, done: u64, plain: bool) -> Self {
        match (!plain).then(|| Dashboard::open(total, done)).flatten() {
            Some(dashboard) => Self::Dashboard(Box::new(Mutex::new(dashboard))),
            None => Self::Lines(Progress::new(total, "steps", done)),
        }
    }

    /// Shows a step.
    pub fn step(&self, record: &StepRecord) {
        match self {
            Self::Lines(progress) => progress.set(record.step, &describe(record)),
            Self::Dashboard(dashboard) => locked(dashboard).step(record),
        }
    }

    /// Shows a validation.
    pub fn validation(&self, record: &ValidationRecord) {
        if let Self::Dashboard(dashboard) = self {
            locked(dashboard).view.validation.push((record.step as f64, record.loss));
        }
        self.note(&format!(
            "step {}: validation loss {:.4}, accuracy {:.1} %",
            format_count(record.step),
            record.loss,
            record.accuracy * 100.0
        ));
    }

    /// Writes a line of its own, above what is drawn.
    pub fn note(&self, line: &str) {
        match self {
            Self::Lines(progress) => progress.note(line),
            Self::Dashboard(dashboard) => locked(dashboard).note(line),
        }
    }

    /// Ends with a last message.
    pub fn finish(self, message: &str) {
        match self {
            Self::Lines(progress) => progress.finish(message),
            Self::Dashboard(dashboard) => {
                (*dashboard).into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).finish(message);
            }
        }
    }
}

fn locked(dashboard: &Mutex<Dashboard>) -> std::sync::MutexGuard<'_, Dashboard> {
    dashboard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn describe(record: &StepRecord) -> String {
    let skipped = if record.skipped { " SKIPPED" } else { "" };
    format!(
        "loss {:.4}, accuracy {:.1} %, {} tokens/s{skipped}",
        record.loss,
        record.accuracy * 100.0,
        format_count(record.non_padding_tokens_per_second as u64)
    )
}

/// The terminal, and what is drawn on it.
pub struct Dashboard {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    view: View,
    started_at: Instant,
    drawn_at: Option<Instant>,
}

impl Dashboard {
    /// None where nobody looks or the terminal is too small.
    fn open(total: u64, done: u64) -> Option<Self> {
        let (width, height) = ratatui::crossterm::terminal::size().ok()?;
        if !(is_watched() && stdout().is_terminal() && width >= SMALLEST.0 && height >= SMALLEST.1) {
            return None;
        }
        let options = TerminalOptions { viewport: Viewport::Inline(HEIGHT) };
        let terminal = Terminal::with_options(CrosstermBackend::new(stderr()), options).ok()?;
        Some(Self { terminal, view: View::new(total, done), started_at: Instant::now(), drawn_at: None })
    }

    fn step(&mut self, record: &StepRecord) {
        self.view.step(record);
        if self.drawn_at.is_none_or(|at| at.elapsed() >= INTERVAL) {
            self.draw();
        }
    }

    /// A terminal that cannot be drawn on must not end a run.
    fn draw(&mut self) {
        let elapsed = self.started_at.elapsed();
        let _ = self.terminal.draw(|frame| self.view.draw(frame, elapsed));
        self.drawn_at = Some(Instant::now());
    }

    fn note(&mut self, line: &str) {
        let _ = self.terminal.insert_before(1, |buffer| Paragraph::new(message(line)).render(buffer.area, buffer));
        self.draw();
    }

    fn finish(mut self, remark: &str) {
        self.draw();
        let bottom = self.terminal.get_frame().area().bottom();
        let _ = self.terminal.set_cursor_position((0, bottom.saturating_sub(1)));
        let _ = self.terminal.show_cursor();
        let time = format!("in {}", format_duration(self.started_at.elapsed()));
        eprintln!("\n{}  {}", message(remark), message(&time));
    }
}

/// What a dashboard shows.
struct View {
    total: u64,
    first: u64,
    /// Steps and losses of every `stride`th step.
    losses: Vec<(f64, f64)>,
    smoothed: Vec<(f64, f64)>,
    stride: u64,
    /// Steps with a finite loss so far, and the smoothed loss.
    seen: u64,
    smooth: f64,
    validation: Vec<(f64, f64)>,
    last: Option<StepRecord>,
}

impl View {
    fn new(total: u64, first: u64) -> Self {
        let (losses, smoothed, validation) = Default::default();
        Self { total, first, losses, smoothed, stride: 1, seen: 0, smooth: f64::NAN, validation, last: None }
    }

    fn step(&mut self, record: &StepRecord) {
        if record.loss.is_finite() {
            let before = if self.seen == 0 { record.loss } else { self.smooth };
            self.smooth = before + SMOOTHING * (record.loss - before);
            if self.seen.is_multiple_of(self.stride) {
                self.losses.push((record.step as f64, record.loss));
                self.smoothed.push((record.step as f64, self.smooth));
            }
            self.seen += 1;
        }
        if self.losses.len() > MOST_POINTS {
            self.stride *= 2;
            for curve in [&mut self.losses, &mut self.smoothed] {
                *curve = curve.iter().step_by(2).copied().collect();
            }
        }
        self.last = Some(record.clone());
    }

    fn draw(&self, frame: &mut Frame<'_>, elapsed: Duration) {
        let [picture, gauge] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
        let [curve, facts] = Layout::horizontal([Constraint::Min(0), Constraint::Length(36)]).areas(picture);
        self.draw_curve(frame, curve);
        frame.render_widget(Paragraph::new(self.facts()).block(Block::bordered()), facts);
        self.draw_gauge(frame, gauge, elapsed);
    }

    fn draw_curve(&self, frame: &mut Frame<'_>, area: Rect) {
        let all = || self.losses.iter().chain(&self.validation);
        let low = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let high = all().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low < high { (low, high) } else { (low.min(1e6) - 1.0, low.min(1e6) + 1.0) };
        let from = self.losses.first().map_or(self.first as f64, |point| point.0);
        let to = self.losses.last().map_or(from + 1.0, |point| point.0).max(from + 1.0);
        let curve = |data, color, graph_type| {
            Dataset::default().marker(Marker::Braille).graph_type(graph_type).style(Style::new().fg(color)).data(data)
        };
        let curves = vec![
            curve(&self.losses, Color::DarkGray, GraphType::Scatter),
            curve(&self.smoothed, Color::Cyan, GraphType::Line),
            curve(&self.validation, Color::Yellow, GraphType::Line).name(word("validation")),
        ];
        let steps = [from, (from + to) / 2.0, to].map(|step| format_count(step as u64));
        let losses = [low, (low + high) / 2.0, high].map(|loss| format!("{loss:.2}"));
        let chart = Chart::new(curves)
            .block(Block::bordered().title(word("loss")))
            .x_axis(Axis::default().bounds([from, to]).labels(steps))
            .y_axis(Axis::default().bounds([low, high]).labels(losses));
        frame.render_widget(chart, area);
    }

    fn facts(&self) -> Vec<Line<'static>> {
        let Some(last) = &self.last else { return vec![Line::from(word("the first step is computed"))] };
        let scale = last.loss_scale.map_or(String::new(), |scale| format!(" (scale {scale})"));
        let facts = [
            ("loss, smoothed", format!("{:.4}", self.smooth)),
            (
                "validation",
                self.validation
                    .last()
                    .map_or("-".into(), |(step, loss)| format!("{loss:.4} (step {})", format_count(*step as u64))),
            ),
            ("accuracy", format!("{:.1} %", last.accuracy * 100.0)),
            ("learning rate", format!("{:.2e}", last.learning_rate)),
            ("gradient norm", format!("{:.3}{scale}", last.grad_norm)),
            ("tokens/s", format_si(last.non_padding_tokens_per_second)),
            ("of the peak", last.mfu.map_or("-".into(), |mfu| format!("{:.0} %", mfu * 100.0))),
            ("wait for data", format!("{:.2} %", 100.0 * last.data_wait_secs / last.step_secs)),
            ("memory", last.peak_memory_bytes.map_or("-".into(), format_bytes)),
            ("epoch", format_count(last.epoch)),
        ];
        let line = |(name, value): (&str, String)| {
            let name = word(name);
            let gap = 16_usize.saturating_sub(name.width());
            Line::from(vec![format!("{name}{:gap$}", "").dim(), message(&value).into_owned().into()])
        };
        let skipped = last.skipped.then(|| Line::from(word("step skipped: not finite").yellow()));
        facts.into_iter().map(line).chain(skipped).collect()
    }

    fn draw_gauge(&self, frame: &mut Frame<'_>, area: Rect, elapsed: Duration) {
        let done = self.last.as_ref().map_or(self.first, |last| last.step);
        let now = done.saturating_sub(self.first).max(1) as f64;
        let left = elapsed.mul_f64(self.total.saturating_sub(done) as f64 / now);
        let eta = if (self.first + 1..self.total).contains(&done) {
            format!("ETA {}", format_duration(left))
        } else {
            String::new()
        };
        let (done_steps, steps) = (format_count(done), format_count(self.total));
        let label = format!("{done_steps}/{steps} {}  {}", word("steps"), message(&eta)).trim_end().to_owned();
        let ratio = if self.total == 0 { 1.0 } else { (done as f64 / self.total as f64).min(1.0) };
        frame.render_widget(Gauge::default().gauge_style(Style::new().fg(Color::Cyan)).ratio(ratio).label(label), area);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;

    fn record(step: u64, loss: f64) -> StepRecord {
        StepRecord {
            step,
            epoch: 3,
            loss,
            accuracy: 0.25,
            learning_rate: 1e-3,
            grad_norm: 1.5,
            tokens: 1024,
            non_padding_tokens: 1000,
            tokens_per_second: 2048.0,
            non_padding_tokens_per_second: 2000.0,
            data_wait_secs: 0.001,
            step_secs: 0.5,
            mfu: Some(0.4),
            peak_memory_bytes: Some(3 << 30),
            loss_scale: None,
            reduction_wait_secs: None,
            skipped: false,
        }
    }

    /// The lines of a dashboard after some steps.
    fn drawn(view: &View, width: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, HEIGHT)).unwrap();
        terminal.draw(|frame| view.draw(frame, Duration::from_secs(60))).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..HEIGHT).map(row).collect()
    }

    #[test]
    fn a_dashboard_shows_the_curve_the_last_step_and_the_time_left() {
        let mut view = View::new(400, 0);
        (1..=100).for_each(|step| view.step(&record(step, 8.0 - 0.05 * step as f64)));
        view.validation.push((100.0, 3.25));
        let lines = drawn(&view, 100);
        let text = lines.join("\n");
        for part in [
            "loss",
            "3.2500 (step 100)",
            "25.0 %",
            "1.00e-3",
            "2k",
            "40 %",
            "0.20 %",
            "3 GiB",
            "100/400 steps  ETA 3m 00s",
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        let ink = |line: &String| line.chars().filter(|char| ('\u{2801}'..='\u{28FF}').contains(char)).count();
        let inked: Vec<usize> = lines.iter().map(ink).collect();
        assert!(inked[1..12].iter().all(|count| *count > 0), "the curve crosses every line: {inked:?}\n{text}");
    }

    #[test]
    fn before_the_first_step_and_without_a_finite_loss_there_is_still_a_picture() {
        let mut view = View::new(0, 0);
        assert!(drawn(&view, 70).join("\n").contains("the first step is computed"));
        view.step(&StepRecord { skipped: true, ..record(1, f64::NAN) });
        assert!(drawn(&view, 70).join("\n").contains("step skipped"));
        view.step(&record(2, f64::MAX));
        drawn(&view, 70);
    }

    #[test]
    fn a_long_run_keeps_its_whole_curve_in_even_steps() {
        let mut view = View::new(100_000, 0);
        (1..=100_000).for_each(|step| view.step(&record(step, step as f64)));
        let points = &view.losses;
        assert!((MOST_POINTS / 2..=MOST_POINTS).contains(&points.len()), "{}", points.len());
        assert!(points[0] == (1.0, 1.0) && points[points.len() - 1].0 > 99_900.0, "{:?}", points.last());
        let gaps: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "uneven");
        assert_eq!(points.len(), view.smoothed.len());
    }
}
