//! Questions about one Service, put to the task that owns the facts.

use std::time::Duration;

use api::service::ServiceKey;
use tokio::sync::{mpsc, oneshot};

use crate::decide::Explanation;

/// Questions that wait; more are refused.
const WAITING: usize = 8;

/// The watch side answers between two facts; longer than this it takes only when it is stuck.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// One question, and where the answer goes.
#[derive(Debug)]
pub struct Question {
    service: ServiceKey,
    answer: oneshot::Sender<Option<Explanation>>,
}

/// Asks; clones ask the same task.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Question>);

/// Where the watch side hears questions.
pub type Questions = mpsc::Receiver<Question>;

/// Both ends.
#[must_use]
pub fn channel() -> (Asker, Questions) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Asker(sender), receiver)
}

/// Nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// Others have asked too much.
    #[error("the speaker has too many questions waiting; ask again")]
    Busy,
    /// The watch side has ended, or is stuck.
    #[error("the speaker's watch task does not answer; it may be ending")]
    Deaf,
}

impl Asker {
    /// How the verdict on this Service came about; `None` for a Service that the speaker does not know.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub async fn explain(&self, service: ServiceKey) -> Result<Option<Explanation>, Silence> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Question { service, answer }).map_err(|_| Silence::Busy)?;
        let answered = tokio::time::timeout(ANSWER_LIMIT, answered).await;
        answered.map_err(|_| Silence::Deaf)?.map_err(|_| Silence::Deaf)
    }
}

impl Question {
    /// Answers it; whoever asked may have gone.
    pub(super) fn answer(self, explain: impl FnOnce(&ServiceKey) -> Option<Explanation>) {
        self.answer.send(explain(&self.service)).ok();
    }
}
