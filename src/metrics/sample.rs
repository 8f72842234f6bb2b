//! What a process can be asked for, and how it stands.

use crate::serve::status::{Engine, EngineStatus};
use crate::serve::{AskServer, Board, Published, ServeStatus};
use std::sync::{Arc, PoisonError, RwLock};

/// A process, as the endpoint sees it. Nothing of it waits for anything.
pub trait Sample: Send + Sync {
    /// What the engine says of itself; `None` before there is one.
    fn engine(&self) -> Option<EngineStatus>;

    /// What is shown to readers; `None` before there is anything.
    fn version(&self) -> Option<Arc<Published>>;

    /// What the server says of itself; `None` where there is none.
    fn server(&self) -> Option<ServeStatus>;

    /// Why it is to be started again: a part of it has failed for good.
    fn failed(&self) -> Option<String> {
        self.engine()?.failed
    }

    /// Why it is not to be asked now, where that is so.
    fn not_ready(&self) -> Option<String> {
        if let Some(why) = self.failed() {
            return Some(format!("a part of the engine has failed: {why}"));
        }
        let engine = self.engine();
        if engine.as_ref().is_some_and(|engine| engine.draining) || self.server().is_some_and(|server| server.draining)
        {
            return Some("it is ending".to_owned());
        }
        if self.version().is_none_or(|version| version.epoch == 0) {
            let away = engine.and_then(|engine| engine.source_down);
            return Some(format!("there are no answers yet{}", away.map_or(String::new(), |why| format!(": {why}"))));
        }
        None
    }
}

/// A process whose parts come one after the other.
#[derive(Default)]
pub struct Process {
    parts: RwLock<Parts>,
}

#[derive(Clone, Default)]
struct Parts {
    shown: Option<(Arc<Board>, Arc<dyn Engine>)>,
    server: Option<AskServer>,
}

impl Process {
    /// What is shown from now on, and who says how it goes.
    pub fn shows(&self, board: &Arc<Board>, engine: Arc<dyn Engine>) {
        self.parts.write().unwrap_or_else(PoisonError::into_inner).shown = Some((board.clone(), engine));
    }

    /// Who answers from now on.
    pub fn is_served_by(&self, server: AskServer) {
        self.parts.write().unwrap_or_else(PoisonError::into_inner).server = Some(server);
    }

    fn parts(&self) -> Parts {
        self.parts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sample for Process {
    fn engine(&self) -> Option<EngineStatus> {
        self.parts().shown.map(|(_, engine)| engine.status())
    }

    fn version(&self) -> Option<Arc<Published>> {
        self.parts().shown.map(|(board, _)| board.current())
    }

    fn server(&self) -> Option<ServeStatus> {
        self.parts().server.and_then(|ask| ask())
    }
}
