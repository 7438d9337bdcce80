//! What may be chosen in place of what settings have, and why not where it does not go with the rest.

use super::config::{Differentiation, Network, TuneConfig, usual_decay, usual_hyperparameters};
use super::error::TuneError;
use super::leader::OuterMethod;
use super::setup::{method, problem, start_values};
use crate::bilevel::hyperparameters::Kind;
use crate::data::Sizes;
use crate::nn::optim;
use crate::nn::zoo::ZOO;

/// A value that a setting may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// The setting.
    pub setting: &'static str,
    /// The value as it is written; of a list, one of its words.
    pub value: String,
    /// Why it does not go with the other settings, and how to go on.
    pub refusal: Option<String>,
    /// Of an inner optimiser, what is tuned where nothing else is asked for.
    pub usual: Vec<Kind>,
}

/// Iterations that linear systems are offered with.
const ITERATIONS: u32 = 20;

/// Share of the steps that truncated reverse mode is offered with, as the advice reckons with.
const PART: u32 = 10;

/// The networks, inner and outer optimisers, ways to the hypergradient and hyperparameters there are, each beside the
/// other settings on data of these sizes.
pub fn offers(config: &TuneConfig, sizes: &Sizes) -> Vec<Offer> {
    let offer = |setting, value: String, changed: &TuneConfig| {
        let refusal = refusal(changed, sizes);
        Offer { setting, value, refusal, usual: vec![] }
    };
    let networks = ZOO.iter().map(|entry| {
        // What the network of before drops, another may not.
        let config = TuneConfig { network: Network::Zoo(entry.name), dropout: None, ..config.clone() };
        offer("network", entry.name.to_owned(), &config)
    });
    let optimizers = optim::named().into_iter().map(|optimizer| {
        let name = optimizer.name().to_owned();
        let hyperparameters = usual_hyperparameters(&*optimizer);
        let decay = usual_decay(&*optimizer);
        // The start values of another's scalars are none of its own.
        let config = TuneConfig {
            optimizer,
            hyperparameters,
            decay,
            momentum: None,
            betas: None,
            epsilon: None,
            hypergradient_rate: None,
            momentum_hypergradient_rate: None,
            ..config.clone()
        };
        Offer { usual: config.hyperparameters.clone(), ..offer("optimizer", name, &config) }
    });
    let kinds = Kind::of_configurations().map(|kind| {
        let alone =
            TuneConfig { hyperparameters: vec![kind], outer_rate: None, example_weight_rate: None, ..config.clone() };
        offer("hyperparameters", kind.name().to_owned(), &alone)
    });
    let ways = [
        Differentiation::Reverse,
        Differentiation::Forward,
        Differentiation::Truncated(config.steps.div_ceil(PART)),
        Differentiation::Implicit(ITERATIONS),
        Differentiation::FixedPoint(ITERATIONS),
    ];
    let ways = ways.map(|method| offer("method", method.to_string(), &TuneConfig { method, ..config.clone() }));
    let leaders = OuterMethod::ALL.map(|outer_method| {
        offer("outer_method", outer_method.to_string(), &TuneConfig { outer_method, ..config.clone() })
    });
    networks.chain(optimizers).chain(kinds).chain(ways).chain(leaders).collect()
}

/// Why there is no run of these settings on data of these sizes, as far as that shows before anything is compiled.
pub fn refusal(config: &TuneConfig, sizes: &Sizes) -> Option<String> {
    let stated = || -> Result<(), TuneError> {
        config.check()?;
        config.check_batch(sizes.train)?;
        let problem = problem(config, sizes)?;
        let start = start_values(config, &problem);
        method(config, &problem, &start).map(drop)
    };
    stated().err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::setup::with_training;

    fn refused(config: TuneConfig) -> impl Fn(&str, &str) -> Option<String> {
        let all = offers(&config, &with_training(2567));
        move |setting, value| {
            let found = all.iter().find(|offer| (offer.setting, &*offer.value) == (setting, value));
            found.unwrap_or_else(|| panic!("{setting} {value} is not offered")).refusal.clone()
        }
    }

    #[test]
    fn what_does_not_apply_is_offered_with_its_reason() {
        let of = refused(TuneConfig::default());
        for (setting, value) in [("network", "mlp"), ("optimizer", "adam"), ("hyperparameters", "momentum")] {
            assert_eq!(of(setting, value), None);
        }
        assert!(of("network", "cnn2d").unwrap().contains("cnn2d"));
        assert!(of("hyperparameters", "betas").unwrap().contains("take optimizer adam"));
        assert!(of("method", "forward").is_none());
        let many = refused(TuneConfig { hyperparameters: vec![Kind::ExampleWeights], ..TuneConfig::default() });
        assert!(many("outer_method", "sobol").unwrap().contains("guarded-adam"));
        assert_eq!(many("outer_method", "auto"), None);
        // Start values of the optimiser at hand do not stand in another's way.
        let of = refused(TuneConfig { momentum: Some(0.5), ..TuneConfig::default() });
        assert_eq!(of("optimizer", "sgd"), None);
    }
}
