//! Every derivative of the catalogue agrees with finite differences, and every function with known values and limits.

use activations::Activation;

/// Points away from 0, where the kinks are, into both tails.
fn points() -> impl Iterator<Item = f64> {
    (-600..=600).map(|i| f64::from(i) * 0.01 + 0.005)
}

/// Parameter values other than the initial ones, so that no derivative is right only there.
fn values_of(activation: Activation) -> [Vec<f64>; 2] {
    let shifted = activation.parameters().iter().enumerate().map(|(i, p)| p.initial + 0.37 + i as f64 * 0.2);
    [activation.initial_values(), shifted.collect()]
}

/// Central difference of fourth order.
fn difference(f: impl Fn(f64) -> f64, x: f64) -> f64 {
    let h = 1e-3;
    (8.0 * (f(x + h) - f(x - h)) - (f(x + 2.0 * h) - f(x - 2.0 * h))) / (12.0 * h)
}

fn assert_close(got: f64, expected: f64, what: impl Fn() -> String) {
    let error = (got - expected).abs() / expected.abs().max(1.0);
    assert!(error < 1e-9, "{}: {got} where differences give {expected}", what());
}

#[test]
fn derivatives_in_x_agree_with_differences() {
    for activation in Activation::ALL {
        for values in values_of(activation) {
            for x in points() {
                let what = |order| move || format!("{activation} derivative {order} at {x}");
                assert_close(activation.df(x, &values), difference(|x| activation.f(x, &values), x), what(1));
                assert_close(activation.d2f(x, &values), difference(|x| activation.df(x, &values), x), what(2));
            }
        }
    }
}

#[test]
fn derivatives_in_parameters_agree_with_differences() {
    for activation in Activation::ALL {
        for values in values_of(activation) {
            for (index, parameter) in activation.parameters().iter().enumerate() {
                for x in points() {
                    let f = |value| {
                        let mut moved = values.clone();
                        moved[index] = value;
                        activation.f(x, &moved)
                    };
                    let what = || format!("{activation} derivative in {} at {x}", parameter.name);
                    assert_close(activation.df_dparameter(index, x, &values), difference(f, values[index]), what);
                }
            }
        }
    }
}

/// Figures of mpmath at 30 digits, rounded.
#[test]
fn values_agree_with_known_ones() {
    let known = [
        (Activation::CrRelu, 1.0, 1.0060653065971263),
        (Activation::CrRelu, -1.0, -0.006065306597126334),
        (Activation::Gelu, 1.0, 0.8413447460685429),
        (Activation::Gelu, -3.0, -0.00404969409489028),
        (Activation::Elu, -1.0, -0.6321205588285577),
        (Activation::Silu, -2.0, -0.23840584404423512),
        (Activation::Mish, 1.0, 0.8650983882673103),
        (Activation::PRelu, -2.0, -0.5),
        (Activation::StarRelu, 3.0, 9.0),
        (Activation::CrGelu, 1.0, 0.8413447460685429 + 0.006065306597126334),
        (Activation::CrSilu, -2.0, -0.23840584404423512 - 0.002706705664732254),
        (Activation::CrMish, 1.0, 0.8650983882673103 + 0.006065306597126334),
    ];
    for (activation, x, expected) in known {
        let got = activation.f(x, &activation.initial_values());
        assert!((got - expected).abs() < 1e-14, "{activation}({x}) = {got}, expected {expected}");
    }
}

#[test]
fn the_correction_of_crrelu_is_bounded() {
    let largest = points().map(|x| Activation::CrRelu.df_dparameter(0, x, &[0.01]).abs()).fold(0.0, f64::max);
    assert!(largest <= (-0.5f64).exp() && largest > 0.6065, "{largest}");
}

#[test]
fn extremes_give_limits_and_nan_stays() {
    for activation in Activation::ALL {
        let values = activation.initial_values();
        for x in [f64::NEG_INFINITY, -1e200, -800.0, -5e-324, 0.0, 5e-324, 800.0, 1e150, f64::INFINITY] {
            assert!(!activation.f(x, &values).is_nan(), "{activation}({x})");
            assert!(!activation.df(x, &values).is_nan(), "{activation}'({x})");
            assert!(!activation.d2f(x, &values).is_nan(), "{activation}''({x})");
            for index in 0..values.len() {
                assert!(!activation.df_dparameter(index, x, &values).is_nan(), "{activation} in {index} at {x}");
            }
        }
        assert!(activation.f(f64::NAN, &values).is_nan(), "{activation}");
        assert!(activation.df(f64::NAN, &values).is_nan(), "{activation}'");
    }
}

#[test]
fn kinks_take_the_side_that_libtorch_takes() {
    assert_eq!(Activation::Relu.df(0.0, &[]), 0.0);
    assert_eq!(Activation::CrRelu.df(0.0, &[0.01]), 0.01);
    assert_eq!(Activation::PRelu.df(0.0, &[0.25]), 0.25);
    assert_eq!(Activation::Elu.df(0.0, &[1.5]), 1.5);
}
