//! Advice on the way to the hypergradient, as the page shows it.

use super::protocol::{Advice, Choice};
use crate::experiment::advise;

impl From<advise::Advice> for Advice {
    fn from(advice: advise::Advice) -> Self {
        Advice {
            choices: advice.choices.into_iter().map(Choice::from).collect(),
            best: advice.best as u32,
            reason: advice.reason,
        }
    }
}

impl From<advise::Choice> for Choice {
    fn from(choice: advise::Choice) -> Self {
        Choice {
            name: choice.name,
            setting: choice.setting,
            exact: choice.exact,
            seconds: choice.bytes.map(|_| choice.seconds),
            bytes: choice.bytes.map(|bytes| bytes as f64),
            impossible: choice.impossible,
            remark: choice.remark,
        }
    }
}
