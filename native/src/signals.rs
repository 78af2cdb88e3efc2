//! SIGINT, SIGTERM and SIGUSR1 ask for a checkpoint and an orderly end; a second SIGINT or SIGTERM ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Whether the program has been asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub fn listen() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // Registered first, so that it sees the flag of an earlier signal only.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, interrupt.0.clone())
                .with_context(|| format!("cannot handle signal {signal}"))?;
            signal_hook::flag::register(signal, interrupt.0.clone())
                .with_context(|| format!("cannot handle signal {signal}"))?;
        }
        #[cfg(unix)]
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, interrupt.0.clone())
            .context("cannot handle SIGUSR1")?;
        Ok(interrupt)
    }

    /// Whether a signal came.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
