//! `millrace serve`: a read replica.

use super::signal::{self, Stop};
use super::{SettingsArgs, serving};
use crate::commands::{Elsewhere, Serving, follow_lake};
use crate::live::Replica;
use crate::metrics::Process;
use crate::serve::Board;
use clap::Args;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  millrace serve --config millrace.toml
  millrace serve --set lake.url=s3://shop/lake --set serve.address=0.0.0.0:7117

It reads the lake of lake.url and nothing else: no source is opened, nothing is written. Answers are those of the newest checkpoint,
and say so; how old they are is lake.checkpoint_ms of the engine that writes there, and --every.";

/// Serve what a lake holds, and follow its checkpoints: a read replica
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How often it is looked for a newer checkpoint, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    every: u64,
    /// No lines about how it goes but warnings
    #[arg(long, short)]
    quiet: bool,
}

impl ServeArgs {
    pub(super) fn run(&self, _out: &mut dyn Write) -> anyhow::Result<()> {
        let loaded = self.settings.load()?;
        let settings = &loaded.settings;
        let stop = Stop::listen()?;
        signal::end_on_panic();
        let say = super::teller("", self.quiet);
        if settings.serve.address.is_empty() {
            return Err(super::Usage("nobody is served: set serve.address, as 127.0.0.1:7117".to_owned()).into());
        }
        serving::check(&settings.serve)?;
        let mut replica = Replica::new(settings)?;
        let elsewhere = Arc::new(Elsewhere::new(0, loaded.to_toml(), super::now_ms()));
        let figures = Arc::<Process>::default();
        let endpoint = serving::figures(&settings.metrics, figures.clone(), Arc::default())?;
        endpoint.iter().for_each(|endpoint| say(format!("figures on http://{}/metrics", endpoint.address)));
        figures.shows(&replica.board(), elsewhere.clone());
        let mut server = None;
        let mut serve = |board: &Arc<Board>| {
            server = serving::start(&settings.serve, board, elsewhere.clone())?;
            if let Some(server) = &server {
                figures.is_served_by(server.ask());
                say(format!("serving on {}, from epoch {} on", server.address, board.current().epoch));
            }
            Ok(())
        };
        let mut serving = Serving { serve: &mut serve, each: &mut |_| {}, is_served: false };
        let every = Duration::from_millis(self.every);
        follow_lake(&mut replica, &elsewhere, every, &mut serving, &say, &|| stop.is_asked())?;
        if let Some(server) = server {
            server.begin_drain();
            server.drain()?;
        }
        Ok(())
    }
}
