//! Networks on validation and test windows.

use super::error::TuneError;
use super::event::{Observer, Watched};
use super::record::{Named, Score, scores};
use crate::bilevel::{Session, Set};

/// The scores of a session's network on the validation and the test windows, by name.
pub(super) async fn scored(
    session: &mut Session,
    [validation, test]: &[Set; 2],
    observer: &mut dyn Observer,
) -> Result<Named, TuneError> {
    let mut quiet = Watched::quiet(observer);
    let validation = session.evaluate(validation, &mut quiet).await;
    let validation = quiet.settle(validation)?;
    let test = session.evaluate(test, &mut quiet).await;
    let test = quiet.settle(test)?;
    Ok(scores("", Score::of(&validation), Score::of(&test)))
}
