//! What ends a server when we are gone, also by `kill -9`, and removes what it leaves.
//!
//! A shell waits on a pipe whose other end only we hold: the kernel closes it when this process is gone. (A signal on
//! the parent's death would come when the *thread* that started the server ends, which under a test runner is at once.)
//! The shell leads a process group that the server joins, so there is no moment at which a server runs unguarded.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Each line names the process that runs now, an empty one says that none does. At the end of input that process goes
/// first, or it would write on in the folder that is being removed; then whatever else is in the group.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pid=
while read -r line; do pid=$line; done
[ -z "$pid" ] || kill -9 "$pid"
rm -rf "$1"
kill -9 0
"#;

#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
}

impl Guard {
    /// Removes `folder` at the end.
    pub(crate) fn new(folder: &Path) -> io::Result<Guard> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "guard"]).arg(folder).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Guard { shell: command.spawn()? })
    }

    pub(crate) fn spawn(&mut self, command: &mut Command) -> io::Result<Child> {
        let group = i32::try_from(self.shell.id()).expect("the kernel's process ids fit");
        let mut child = command.process_group(group).spawn()?;
        if let Err(error) = self.tell(&child.id().to_string()) {
            // Both fail only where it has ended already.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok(child)
    }

    /// The process has ended: its id may soon be another's.
    pub(crate) fn forget(&mut self) {
        // A shell that is gone needs not be told.
        let _ = self.tell("");
    }

    /// Lets it do its work now, and waits for it.
    pub(crate) fn close(&mut self) {
        // `wait` closes the pipe first.
        let _ = self.shell.wait();
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        let pipe = self.shell.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        pipe.write_all(format!("{line}\n").as_bytes())
    }
}
