//! SIGINT, SIGTERM and SIGUSR1 ask for a checkpoint and an orderly end; a second SIGINT ends at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether the program has been asked to stop.
#[derive(Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

static INTERRUPT: OnceLock<Interrupt> = OnceLock::new();

/// Whether a command that listens has been asked to stop.
pub fn is_interrupted() -> bool {
    INTERRUPT.get().is_some_and(Interrupt::is_set)
}

impl Interrupt {
    /// Listens from now on. There is one for the whole process: what stops one step of a command stops the next one too.
    pub fn listen() -> anyhow::Result<&'static Self> {
        if let Some(interrupt) = INTERRUPT.get() {
            return Ok(interrupt);
        }
        let interrupt = Self::default();
        // Only the person at the keyboard ends the program by asking twice: schedulers send one signal after another and
        // mean one orderly end. Registered first, so that it sees the flag of an earlier SIGINT only.
        let asked_by_hand = Arc::new(AtomicBool::new(false));
        flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, asked_by_hand.clone())
            .and_then(|_| flag::register(SIGINT, asked_by_hand))
            .context("cannot handle SIGINT")?;
        let stopping = [
            SIGINT,
            SIGTERM,
            #[cfg(unix)]
            signal_hook::consts::SIGUSR1,
        ];
        for signal in stopping {
            flag::register(signal, interrupt.0.clone()).with_context(|| format!("cannot handle signal {signal}"))?;
        }
        Ok(INTERRUPT.get_or_init(|| interrupt))
    }

    /// Whether a signal came.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
