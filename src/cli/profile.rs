//! `stackelberg profile`.

use std::fmt::Write as _;
use std::process::ExitCode;

use pollster::block_on;
use stackelberg::engine::Clock;
use stackelberg::experiment::prepared::Prepared;
use stackelberg::experiment::profile::{Bound, DispatchProfile, Profile, ProgramProfile, profile};

use super::settings::{Base, Settings};
use super::{CliError, device, start};

/// Time every dispatch of a run's programs, and hold it against what the device can do
///
/// A training step, its adjoint and a chunk of the outer loss, dispatch by dispatch: measured time, operations and bytes
/// counted from the program, and how near that is to the ceilings of this device, which are measured with a matrix
/// product and a copy. At 100 % of a ceiling the device can do no better; more than that says that it was busy with other work
/// while the ceilings were measured. `stackelberg explain --part program` prints
/// what each dispatch computes.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    base: Base,

    /// Runs of each program; times are their medians
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,

    /// Only so many dispatches of each program, the longest first; all in their order without
    #[arg(long, value_name = "N")]
    top: Option<usize>,

    /// Print the profile as JSON: all dispatches in their order
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = args.settings.over(args.base.load()?);
    config.check()?;
    let mut config = device::within_memory(config);
    let source = start::load(&mut config)?;
    let run = Prepared::new(&config, &source)?;
    let (engine, _) = device::choose(&run)?;
    let profile = block_on(profile(&run, &engine, args.repeats as usize))?;
    super::print(&if args.json {
        serde_json::to_string_pretty(&profile).expect("a profile is plain values") + "\n"
    } else {
        text(&profile, args.top)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(profile: &Profile, top: Option<usize>) -> String {
    let by = match profile.clock {
        Clock::Device => "timed by the device",
        Clock::Host => "timed by the host, which waits for every dispatch: short ones are shorter than they look",
    };
    let mut text = format!(
        "\n{by}; ceilings: {:.1} GFLOP/s in a matrix product, {:.1} GB/s in a copy\n",
        profile.ceilings.gflops, profile.ceilings.gbps
    );
    for ProgramProfile { name, seconds, dispatches } in &profile.programs {
        let _ = writeln!(text, "\n{name}: {:.3} ms in {} dispatches", 1e3 * seconds, dispatches.len());
        let _ = writeln!(text, "       ms   share    GFLOP/s     GB/s   of ceiling  dispatch");
        let mut order: Vec<usize> = (0..dispatches.len()).collect();
        if let Some(top) = top {
            order.sort_by(|&a, &b| dispatches[b].seconds.total_cmp(&dispatches[a].seconds));
            order.truncate(top);
        }
        for at in order {
            let DispatchProfile { label, seconds, share, gflops, gbps, fraction, bound, .. } = &dispatches[at];
            let bound = if *bound == Bound::Compute { "compute" } else { "memory" };
            let _ = writeln!(
                text,
                "{:9.4}  {:5.1} %  {gflops:9.2}  {gbps:7.2}  {:3.0} % {bound:<7}  {at}. {label}",
                1e3 * seconds,
                100.0 * share,
                100.0 * fraction
            );
        }
    }
    text
}
