//! The plots of each command: which curves stand in which panel.

use activations::Activation;
use eafo::correction::{Corrected, Derivation, FirstOrder, Warp, entropy_at};
use eafo::density::Density;
use eafo::function::{Function, Map};
use eafo::layers::{Layer, LayerFile, Reading};
use eafo::rank::Ranked;

use crate::page::Page;
use crate::panel::{BLUE, GREEN, GREY, ORANGE, Panel, SKY};

/// How many points a curve has.
const POINTS: usize = 480;

/// The page of a derivation: activations, η, output densities, entropy over steps.
pub fn derivation(found: &Derivation<'_>) -> anyhow::Result<Page> {
    let correction = &found.correction;
    let heading = format!(
        "{} on {}  ·  step {:.3}  ·  entropy {:.4} nats before, {:.4} after",
        correction.function().name(),
        correction.density().name(),
        found.step,
        found.before.continuous,
        found.after.continuous
    );
    let panels = vec![activations(found), eta(found), outputs(found), steps(found)?];
    Ok(Page { heading, panels, columns: 2, panel_size: (600, 380) })
}

fn activations(found: &Derivation<'_>) -> Panel {
    let (correction, density) = (&found.correction, found.correction.density());
    let (exact, first) =
        (Corrected(Warp::new(correction, found.step)), FirstOrder(Warp::new(correction, found.first_order_step)));
    let range = around(density, 4.0);
    let line = |map: &dyn Map| grid(range).map(|x| (x, map.value(x))).collect::<Vec<_>>();
    Panel::new("Activation", "pre-activation")
        .dashes(correction.function().name(), GREY, line(correction.function()))
        .line("corrected, exactly", BLUE, line(&exact))
        .line(format!("to first order, step {:.3}", found.first_order_step), ORANGE, line(&first))
}

/// η over the argument of the inverse; where it has no limit the curve leaves the panel.
fn eta(found: &Derivation<'_>) -> Panel {
    let correction = &found.correction;
    let mut panel = Panel::new("Correction η", "x, the argument of the inverse");
    let largest = correction.branches().iter().flat_map(|branch| {
        let (low, high) = branch.untouched();
        grid((low, high)).map(|x| correction.direction(x)[0].abs()).collect::<Vec<_>>()
    });
    let most = 2.0 * largest.filter(|eta| eta.is_finite()).fold(0.0, f64::max).max(1e-6);
    let colours = [BLUE, ORANGE, GREEN, GREY];
    let several = correction.branches().len() > 1;
    for (i, branch) in correction.branches().iter().enumerate() {
        let inside = (branch.low().next_up(), branch.high().next_down());
        let label = |what: &str| if several { format!("{what}, branch {}", i + 1) } else { what.to_owned() };
        let of = |value: &dyn Fn(f64) -> f64| {
            grid(inside).map(|x| (correction.function().value(x), value(x))).collect::<Vec<_>>()
        };
        let tapered = branch.tapers().iter().any(|width| *width > 0.0);
        panel = panel.line(label("η"), colours[i % 4], of(&|x| correction.eta(x)));
        if tapered {
            let sign = if branch.direction_of_function() == eafo::pieces::Direction::Falling { -1.0 } else { 1.0 };
            panel = panel.dashes(
                if i == 0 { "as taken (tapered)" } else { "" },
                GREY,
                of(&|x| sign * correction.direction(x)[0]),
            );
        }
    }
    panel.within(-most, most)
}

/// Densities of the output, drawn from even quantiles of the input.
fn outputs(found: &Derivation<'_>) -> Panel {
    let (correction, density) = (&found.correction, found.correction.density());
    let exact = Corrected(Warp::new(correction, found.step));
    const DRAWS: usize = 40_000;
    let inputs: Vec<f64> = (0..DRAWS).map(|i| density.quantile((i as f64 + 0.5) / DRAWS as f64)).collect();
    let atoms: Vec<f64> = found.before.atoms.iter().map(|atom| atom.value).collect();
    let of = |map: &dyn Map| {
        let values = inputs.iter().map(|x| map.value(*x)).filter(|value| !atoms.contains(value));
        values.collect::<Vec<f64>>()
    };
    let (before, after) = (of(correction.function()), of(&exact));
    let mut sorted = before.clone();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[0], sorted[(sorted.len() - 1) * 995 / 1000]);
    let edges: Vec<f64> = (0..100).map(|i| low + (high - low) * f64::from(i) / 100.0).collect();
    let counted = |values: &[f64]| {
        let mut counts = vec![0.0; 100];
        for value in values {
            let bin = (value - low) / (high - low) * 100.0;
            if (0.0..100.0).contains(&bin) {
                counts[bin as usize] += 100.0 / ((high - low) * DRAWS as f64);
            }
        }
        counts
    };
    let line =
        |values: &[f64]| edges.iter().map(|x| x + 0.5 * (high - low) / 100.0).zip(counted(values)).collect::<Vec<_>>();
    let (before, after) = (line(&before), line(&after));
    let mut heights: Vec<f64> = before.iter().chain(&after).map(|point| point.1).collect();
    heights.sort_by(f64::total_cmp);
    let most = 1.6 * heights[(heights.len() - 1) * 97 / 100];
    let title = if atoms.is_empty() { "Density of the output" } else { "Density of the output, without atoms" };
    Panel::new(title, "value").with_zero().within(0.0, most).dashes("before", GREY, before).line("after", BLUE, after)
}

/// Entropy over all steps that leave an inverse.
fn steps(found: &Derivation<'_>) -> anyhow::Result<Panel> {
    let (least, most) = found.correction.steps();
    let (low, high) = (least.max(-most) * 0.95, most * 0.95);
    let mut curve = Vec::new();
    if low.is_finite() && high.is_finite() {
        for i in 0..=40 {
            let step = low + (high - low) * f64::from(i) / 40.0;
            curve.push((step, entropy_at(&found.correction, step)?.continuous));
        }
    }
    Ok(Panel::new("Entropy of the output, nats", "step t of y + t·η")
        .line("", BLUE, curve)
        .marks("none", GREY, vec![(0.0, found.before.continuous)])
        .marks("the step taken", ORANGE, vec![(found.step, found.after.continuous)]))
}

/// The page of both signs of ε: shapes of the activation, and entropy over ε.
pub fn epsilons(activation: Activation, density: &dyn Density, found: &[(f64, Ranked)]) -> anyhow::Result<Page> {
    let (low, high) = around(density, 3.0);
    let mut shapes = Panel::new("Activation", "pre-activation");
    for (epsilon, colour) in [(-1.0, BLUE), (-0.1, SKY), (0.0, GREY), (0.1, ORANGE), (1.0, GREEN)] {
        let function = Function::catalogue(activation, &[epsilon])?;
        let points = grid((low.min(-3.0), high)).map(|x| (x, function.value(x))).collect();
        shapes = shapes.line(format!("ε = {epsilon}").replace('-', "−"), colour, points);
    }
    let over = |of: &dyn Fn(&Ranked) -> f64| found.iter().map(|(epsilon, one)| (*epsilon, of(one))).collect::<Vec<_>>();
    let entropy = Panel::new("Entropy of the output, nats", "ε")
        .marks("continuous part", BLUE, over(&|one| one.entropy.continuous))
        .marks("scale-normalised", ORANGE, over(&|one| one.normalised.unwrap_or(f64::NAN)));
    let heading = format!("{activation} on {}", density.name());
    Ok(Page { heading, panels: vec![shapes, entropy], columns: 2, panel_size: (600, 380) })
}

/// The page of a network: entropies, shapes and ε over layers, then each layer's pre-activations.
pub fn layers(file: &LayerFile, readings: &[Reading]) -> anyhow::Result<Page> {
    let over = |of: &dyn Fn(&Reading) -> Option<f64>| {
        let points = readings.iter().enumerate().map(|(i, one)| (i as f64, of(one).unwrap_or(f64::NAN)));
        points.collect::<Vec<_>>()
    };
    let mut panels = vec![
        Panel::new("Entropy, nats", "layer")
            .marks("before", GREY, over(&|one| Some(one.entropy_before)))
            .marks("after", BLUE, over(&|one| Some(one.entropy_after)))
            .marks("after, normalised", ORANGE, over(&|one| one.normalised_after)),
        Panel::new("Distance from the Gaussian", "layer")
            .with_zero()
            .marks("total variation", BLUE, over(&|one| Some(one.total_variation)))
            .marks("KS", ORANGE, over(&|one| Some(one.kolmogorov))),
        Panel::new("Kurtosis (a Gaussian has 3)", "layer").marks("", BLUE, over(&|one| Some(one.kurtosis))),
    ];
    panels.push(
        Panel::new("Values without slope, and dead units, share", "layer")
            .with_zero()
            .marks("flat", BLUE, over(&|one| Some(one.flat_share)))
            .marks("dead", ORANGE, over(&|one| one.dead_share)),
    );
    if readings.iter().any(|one| one.epsilon.is_some()) {
        panels.push(Panel::new("Learned ε", "layer").marks("", BLUE, over(&|one| one.epsilon)));
    }
    for layer in &file.layers {
        panels.push(layer_panel(layer)?);
    }
    let heading = format!("{}  ·  {} activations  ·  {} images", file.model, readings.len(), file.images);
    Ok(Page { heading, panels, columns: 4, panel_size: (370, 270) })
}

fn layer_panel(layer: &Layer) -> anyhow::Result<Panel> {
    let gaussian = layer.gaussian()?;
    let histogram = &layer.histogram;
    let total = (histogram.counts.iter().sum::<u64>() + histogram.below + histogram.above) as f64;
    let range = (layer.mean - 5.0 * layer.variance.sqrt(), layer.mean + 5.0 * layer.variance.sqrt());
    let mut bars: Vec<(f64, f64)> = histogram
        .edges
        .windows(2)
        .zip(&histogram.counts)
        .map(|(pair, count)| (pair[0], *count as f64 / (total * (pair[1] - pair[0]))))
        .collect();
    bars.push((histogram.edges[histogram.edges.len() - 1], 0.0));
    bars.retain(|(x, _)| (range.0..=range.1).contains(x));
    let curve = grid(range).map(|x| (x, gaussian.pdf(x))).collect();
    Ok(Panel::new(layer.name.clone(), "")
        .with_zero()
        .bars("pre-activations", BLUE, bars)
        .line("Gaussian", ORANGE, curve))
}

fn around(density: &dyn Density, deviations: f64) -> (f64, f64) {
    let (low, high) = density.support();
    let room = deviations * density.deviation();
    ((density.mean() - room).max(low), (density.mean() + room).min(high))
}

fn grid((low, high): (f64, f64)) -> impl Iterator<Item = f64> {
    (0..=POINTS).map(move |i| low + (high - low) * i as f64 / POINTS as f64)
}
