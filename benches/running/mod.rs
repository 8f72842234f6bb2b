//! A running engine in a process of its own, for the drivers beside it.

use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an engine that is told to end may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// `millrace run`. Dropped, it is told to end.
pub struct Engine {
    pub address: String,
    child: Child,
}

impl Engine {
    /// Starts it with these settings (`key=value`), and waits until it serves.
    ///
    /// # Errors
    /// Where there is no such program, or it ends before it serves: it has said why.
    pub fn start(binary: Option<&Path>, settings: &[String]) -> anyhow::Result<Engine> {
        let binary = binary.map_or_else(beside_us, |binary| Ok(binary.to_owned()))?;
        let mut command = Command::new(&binary);
        command.args(["run", "--set", "serve.address=127.0.0.1:0"]);
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        // In a folder without a millrace.toml.
        command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let mut lines = BufReader::new(child.stderr.take().context("it is a pipe")?).lines();
        let address = loop {
            let Some(line) = lines.next().transpose()? else {
                bail!("{} ended with {}", binary.display(), child.wait()?);
            };
            match line.split_once(" info: serving on ") {
                Some((_, address)) => break address.to_owned(),
                None => eprintln!("{line}"),
            }
        };
        // Its lines about how it goes would fill the pipe; what else it says is wanted.
        std::thread::spawn(move || {
            let lines = lines.map_while(Result::ok).filter(|line| !line.contains(" info: epoch "));
            lines.for_each(|line| eprintln!("{line}"));
        });
        Ok(Engine { address, child })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().is_ok_and(|status| status.success());
        let begun = Instant::now();
        while told && begun.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Either fails only where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that was built together with this one.
fn beside_us() -> anyhow::Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let binary = ours.ancestors().nth(2).context("examples lie in a folder of their own")?.join("millrace");
    if !binary.is_file() {
        bail!("there is no {}: build it with `cargo build --release`, or name one with --millrace", binary.display());
    }
    Ok(binary)
}
