//! `millrace engine`: what the parent of a process of a cluster starts. Nobody else does.

use super::run::PlaceArgs;
use super::{Going, SettingsArgs, Usage, signal};
use crate::allocator;
use crate::checkpoint::Superseded;
use crate::commands;
use crate::live::RebuildRefused;
use crate::live::cluster::LOST;
use crate::log;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  millrace engine --config millrace.toml --process 1 --processes 3 --hosts hosts

`millrace run --process …` starts it, and again where it ends. By hand it says nothing that a person could read.";

/// Compute for a parent: its standard input and output are for the parent alone
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EngineArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    going: Going,
}

/// Timely ends a thread that exchanges data by a panic where the other end goes: that is another process that is lost, and no fault here.
fn end_where_exchange_breaks() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        let Some(other) = name.strip_prefix("timely:recv-").or_else(|| name.strip_prefix("timely:send-")) else {
            return report(panic);
        };
        log::warning(format_args!("the exchange of data with process {other} has broken off; this generation ends"));
        std::process::exit(LOST);
    }));
}

impl EngineArgs {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        // The parent has said what settings leave open to the world, and hears the signals of a terminal.
        let loaded = self.settings.load_quietly()?;
        signal::pass_over();
        signal::end_on_panic();
        end_where_exchange_breaks();
        allocator::give_back_what_is_large();
        let place =
            self.place.place()?.ok_or_else(|| Usage("it takes --process, --processes and --hosts".to_owned()))?;
        let say = super::teller(&format!("engine {}: ", place.process), self.going.quiet);
        let ended = commands::engine(
            &loaded.settings,
            loaded.to_toml(),
            &place,
            self.going.until_end,
            self.going.refuse_rebuild,
            &say,
        );
        // To begin again would take the lake back from who has taken it over, or be refused again.
        let is_final =
            |error: &(dyn std::error::Error + 'static)| error.is::<Superseded>() || error.is::<RebuildRefused>();
        ended.map_err(|error| match error.chain().any(is_final) {
            true => Usage(format!("{error:#}")).into(),
            false => error,
        })
    }
}
