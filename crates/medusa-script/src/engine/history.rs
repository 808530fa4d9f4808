//! What this process leaves to the next.

use std::rc::Rc;

use super::EngineThread;
use crate::history_file::Written;

impl EngineThread {
    /// Reads what earlier processes have published.
    pub(super) fn read_history(&self) {
        let (known, last) = self.history_file.borrow_mut().read(&self.program.root, &self.recipes);
        self.live.restore(known, last);
        self.recipes.forget(&self.live.remembered());
    }

    /// Writes what is published to disk, for the next start.
    pub(super) async fn write_history(self: Rc<Self>) {
        let mut published = self.live.watch_published();
        while published.changed().await.is_ok() {
            self.recipes.forget(&self.live.remembered());
            let since = |number| self.live.generations_since(number);
            let lines = self.history_file.borrow_mut().next(since, &self.recipes);
            if let Some(lines) = lines {
                let written = tokio::task::spawn_blocking(move || lines.write()).await;
                let written = written.unwrap_or_else(|panic| Written::failed(&panic.to_string()));
                self.history_file.borrow_mut().written(written);
            }
        }
    }
}
