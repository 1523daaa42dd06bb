//! A watch that runs only while somebody needs what it says.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch::Receiver;

/// What `begin` yields, as long as it is wanted. Each time that it is wanted no longer, `end` follows what came so far, and
/// the next time begins anew. Ends with the sender.
pub(super) fn while_wanted<T: Send + 'static>(
    wanted: Receiver<bool>,
    begin: impl FnMut() -> BoxStream<'static, T> + Send,
    end: impl Fn() -> T + Send,
) -> impl Stream<Item = T> + Send {
    let state = State { wanted, begin, end, running: None };
    stream::unfold(state, async |mut state| {
        let item = state.next().await?;
        Some((item, state))
    })
}

struct State<T, B, E> {
    wanted: Receiver<bool>,
    begin: B,
    end: E,
    running: Option<BoxStream<'static, T>>,
}

impl<T, B: FnMut() -> BoxStream<'static, T>, E: Fn() -> T> State<T, B, E> {
    async fn next(&mut self) -> Option<T> {
        loop {
            let wanted = *self.wanted.borrow_and_update();
            match &mut self.running {
                None if wanted => self.running = Some((self.begin)()),
                None => self.wanted.changed().await.ok()?,
                Some(_) if !wanted => {
                    self.running = None;
                    return Some((self.end)());
                }
                Some(running) => tokio::select! {
                    item = running.next() => return item,
                    changed = self.wanted.changed() => changed.ok()?,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn it_begins_anew_each_time_that_it_is_wanted() {
        let (want, wanted) = watch::channel(true);
        let mut begun = 0;
        let begin = move || {
            begun += 1;
            stream::iter([begun, begun]).chain(stream::pending()).boxed()
        };
        let mut items = std::pin::pin!(while_wanted(wanted, begin, || 0));
        let mut all = || std::iter::from_fn(|| items.next().now_or_never().flatten()).collect::<Vec<i32>>();
        assert_eq!(all(), [1, 1]);
        want.send_replace(false);
        assert_eq!(all(), [0]);
        assert!(all().is_empty());
        want.send_replace(true);
        assert_eq!(all(), [2, 2]);
    }
}
