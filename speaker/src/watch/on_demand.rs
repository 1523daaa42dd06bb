//! A watch that runs only while somebody needs what it says.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch::Receiver;

/// What `begin` yields, as long as it is wanted. Each time that it is wanted no longer, `end` follows what came so far, and
/// the next time begins anew. So it does when something else is wanted of it. Ends with the sender.
pub(super) fn while_wanted<T, W>(
    wanted: Receiver<Option<W>>,
    begin: impl FnMut() -> BoxStream<'static, T> + Send,
    end: impl Fn() -> T + Send,
) -> impl Stream<Item = T> + Send
where
    T: Send + 'static,
    W: Copy + PartialEq + Send + Sync + 'static,
{
    let state = State { wanted, begin, end, running: None };
    stream::unfold(state, async |mut state| {
        let item = state.next().await?;
        Some((item, state))
    })
}

struct State<T, W, B, E> {
    wanted: Receiver<Option<W>>,
    begin: B,
    end: E,
    running: Option<(W, BoxStream<'static, T>)>,
}

impl<T, W: Copy + PartialEq, B: FnMut() -> BoxStream<'static, T>, E: Fn() -> T> State<T, W, B, E> {
    async fn next(&mut self) -> Option<T> {
        loop {
            let wanted = *self.wanted.borrow_and_update();
            match (&mut self.running, wanted) {
                (None, None) => self.wanted.changed().await.ok()?,
                (Some(_), None) => {
                    self.running = None;
                    return Some((self.end)());
                }
                (Some((what, running)), Some(wanted)) if *what == wanted => tokio::select! {
                    item = running.next() => return item,
                    changed = self.wanted.changed() => changed.ok()?,
                },
                (None | Some(_), Some(wanted)) => self.running = Some((wanted, (self.begin)())),
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
        let (want, wanted) = watch::channel(Some(1));
        let mut begun = 0;
        let begin = move || {
            begun += 1;
            stream::iter([begun, begun]).chain(stream::pending()).boxed()
        };
        let mut items = std::pin::pin!(while_wanted(wanted, begin, || 0));
        let mut all = || std::iter::from_fn(|| items.next().now_or_never().flatten()).collect::<Vec<i32>>();
        assert_eq!(all(), [1, 1]);
        want.send_replace(None);
        assert_eq!(all(), [0]);
        assert!(all().is_empty());
        want.send_replace(Some(1));
        assert_eq!(all(), [2, 2]);
        want.send_replace(Some(2));
        assert_eq!(all(), [3, 3], "something else of it, and nothing is forgotten before");
    }
}
