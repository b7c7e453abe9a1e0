//! Training on a graphics processor gives what training on the processor gives. Any Vulkan device does: on a machine without
//! one, Mesa's lavapipe (Debian package `mesa-vulkan-drivers`).

#[allow(dead_code)] // Some of it serves the tests of the processor.
#[path = "train/common.rs"]
mod common;

use common::{NET, bars, go_on, network};
use elastiq_quant::train::{Config, Place, Run, Trained, gradients, train};

/// Differences that the order of sums in 32 bits explains, as a share of the largest gradient of a parameter.
const GRADIENT_TOLERANCE: f32 = 1e-4;
/// Of losses, relative.
const LOSS_TOLERANCE: f32 = 1e-5;
/// Of losses after epochs in which such differences have grown, relative.
const RUN_TOLERANCE: f32 = 1e-2;

fn near(a: f32, b: f32, tolerance: f32) -> bool {
    (a - b).abs() <= tolerance * b.abs()
}

#[test]
fn a_step_has_the_gradients_of_the_processor() {
    let network = network(NET, 3);
    let (samples, config) = (bars(64, 1), Config::default());
    let on = |place| gradients(&network, &samples, &config, place).expect("a step");
    let (loss, want) = on(Place::Cpu);
    let (found, got) = on(Place::Gpu);
    assert!(near(found, loss, LOSS_TOLERANCE), "loss {found} for {loss}");
    let mut worst = 0f32;
    for ((param, want), got) in network.params().iter().zip(&want).zip(&got) {
        let largest = want.iter().fold(0f32, |m, g| m.max(g.abs()));
        assert!(largest > 0.0, "{}: no gradient to compare", param.name);
        let miss = want.iter().zip(got).map(|(a, b)| (a - b).abs());
        let miss = miss.fold(0f32, f32::max) / largest;
        assert!(
            miss <= GRADIENT_TOLERANCE,
            "{}: off by {miss} of the largest",
            param.name
        );
        worst = worst.max(miss);
    }
    println!("loss {found} for {loss}, gradients within {worst:e} of the largest");
}

#[test]
fn a_short_training_ends_where_the_processor_does() {
    let network = network(NET, 3);
    let config = Config {
        epochs: 3,
        lr: 5e-3,
        ..Config::default()
    };
    let on = |place| -> Trained {
        let run = Run {
            place,
            ..Run::default()
        };
        train(
            &network,
            &bars(240, 1),
            &bars(90, 2),
            &config,
            &run,
            &mut go_on,
        )
        .expect("training")
    };
    let (cpu, gpu) = (on(Place::Cpu), on(Place::Gpu));
    for (want, got) in cpu.history.iter().zip(&gpu.history) {
        assert!(
            near(got.val_loss, want.val_loss, RUN_TOLERANCE),
            "epoch {}: {} for {}",
            want.epoch,
            got.val_loss,
            want.val_loss
        );
    }
    let ends = |t: &Trained| {
        (
            t.history[0].val_loss,
            t.history.last().expect("epochs").val_loss,
        )
    };
    let (first, last) = ends(&gpu);
    assert!(last < 0.9 * first, "nothing was learned: {first} to {last}");
    println!("validation loss {last} for {}", ends(&cpu).1);
}
