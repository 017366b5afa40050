//! How densities are written: `gaussian`, `gaussian(0, 2)`, `student-t(5)`, `mixture(0.5: -2, 1; 0.5: 2, 1)`, `kde(FILE)`, `layers(FILE)`.

use std::path::Path;

use super::{Density, Family, Kernel, Mixture, Polygon, Scaled};
use crate::EafoError;
use crate::error::nearest;
use crate::layers::LayerFile;

/// Every name, with what stands in its parentheses.
pub const NAMES: [(&str, &str); 10] = [
    ("gaussian", "(mean, standard deviation)"),
    ("half-normal", "(scale)"),
    ("student-t", "(nu) or (nu, location, scale)"),
    ("laplace", "(location, scale)"),
    ("logistic", "(location, scale)"),
    ("uniform", "(low, high)"),
    ("mixture", "(weight: mean, standard deviation; …)"),
    ("kde", "(file of numbers)"),
    ("histogram", "(file of numbers)"),
    ("layers", "(file of `rectify inspect`) or (file, layer)"),
];

/// The density of a text. Without parentheses a name means its standard form; case does not matter.
///
/// # Errors
/// [`EafoError::UnknownDensity`] with the nearest names; [`EafoError::Text`] where what stands in the parentheses cannot be read; and
/// what the density itself refuses.
pub fn parse(text: &str) -> Result<Box<dyn Density>, EafoError> {
    let (name, inside) = split(text)?;
    let plain = name.to_lowercase().replace('_', "-");
    let name = match plain.as_str() {
        "normal" => "gaussian",
        "halfnormal" => "half-normal",
        "student" | "t" | "studentt" => "student-t",
        other => other,
    };
    let Some((name, written)) = NAMES.iter().find(|(known, _)| *known == name) else {
        let all = NAMES.iter().map(|(name, _)| *name);
        return Err(EafoError::UnknownDensity {
            name: name.to_owned(),
            nearest: nearest(name, all.clone()),
            all: all.map(str::to_owned).collect(),
        });
    };
    match *name {
        "mixture" => Ok(Box::new(mixture(text, inside)?)),
        "kde" => {
            let path = file(text, inside)?;
            Ok(Box::new(Kernel::from_samples(path, &read_samples(Path::new(path))?)?))
        }
        "histogram" => {
            let path = file(text, inside)?;
            Ok(Box::new(Polygon::from_samples(path, &read_samples(Path::new(path))?)?))
        }
        "layers" => {
            let path = file(text, inside)?;
            let (path, layer) = match path.split_once(',') {
                Some((path, layer)) => (path.trim(), Some(layer.trim())),
                None => (path, None),
            };
            Ok(Box::new(LayerFile::read(Path::new(path))?.density(path, layer)?))
        }
        _ => scaled(text, name, written, &numbers(text, inside)?),
    }
}

fn scaled(text: &str, name: &str, written: &str, numbers: &[f64]) -> Result<Box<dyn Density>, EafoError> {
    let law = match (name, numbers) {
        ("gaussian", []) => Scaled::gaussian(),
        ("gaussian", &[mean, deviation]) => Scaled::new(Family::Gaussian, mean, deviation)?,
        ("half-normal", []) => Scaled::standard(Family::HalfNormal)?,
        ("half-normal", &[scale]) => Scaled::new(Family::HalfNormal, 0.0, scale)?,
        ("student-t", &[freedom]) => Scaled::standard(Family::StudentT { freedom })?,
        ("student-t", &[freedom, location, scale]) => Scaled::new(Family::StudentT { freedom }, location, scale)?,
        ("laplace", []) => Scaled::standard(Family::Laplace)?,
        ("laplace", &[location, scale]) => Scaled::new(Family::Laplace, location, scale)?,
        ("logistic", []) => Scaled::standard(Family::Logistic)?,
        ("logistic", &[location, scale]) => Scaled::new(Family::Logistic, location, scale)?,
        ("uniform", []) => Scaled::standard(Family::Uniform)?,
        ("uniform", &[low, high]) if low < high => Scaled::new(Family::Uniform, low, high - low)?,
        _ => {
            let reason = format!("{} number(s) in parentheses; write {name}{written}", numbers.len());
            return Err(EafoError::Text { text: text.to_owned(), reason });
        }
    };
    Ok(Box::new(law))
}

fn mixture(text: &str, inside: Option<&str>) -> Result<Mixture, EafoError> {
    let wrong = |part: &str| EafoError::Text {
        text: text.to_owned(),
        reason: format!(
            "`{part}` is no part of a mixture; write mixture(0.5: -2, 1; 0.5: 2, 1), with weight: mean, standard deviation"
        ),
    };
    let mut parts = Vec::new();
    for part in inside.unwrap_or_default().split(';') {
        let (weight, law) = part.split_once(':').ok_or_else(|| wrong(part.trim()))?;
        let weight = weight.trim().parse().map_err(|_| wrong(part.trim()))?;
        match numbers(text, Some(law))?.as_slice() {
            &[mean, deviation] => parts.push((weight, mean, deviation)),
            _ => return Err(wrong(part.trim())),
        }
    }
    Mixture::new(&parts)
}

/// The mixture of a text, whose parts are classes to some callers.
///
/// # Errors
/// As [`parse`]; [`EafoError::Text`] for any other density.
pub fn parse_mixture(text: &str) -> Result<Mixture, EafoError> {
    match split(text)? {
        (name, inside) if name.eq_ignore_ascii_case("mixture") => mixture(text, inside),
        _ => {
            let reason = "it is no mixture; write mixture(0.5: -1, 1; 0.5: 1, 1), a part a class".to_owned();
            Err(EafoError::Text { text: text.to_owned(), reason })
        }
    }
}

/// Name and what stands in parentheses.
pub(crate) fn split(text: &str) -> Result<(&str, Option<&str>), EafoError> {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('(') else { return Ok((text, None)) };
    let Some(inside) = rest.trim_end().strip_suffix(')') else {
        return Err(EafoError::Text { text: text.to_owned(), reason: "the parenthesis is not closed".to_owned() });
    };
    Ok((name.trim(), Some(inside)))
}

/// The numbers between commas.
pub(crate) fn numbers(text: &str, inside: Option<&str>) -> Result<Vec<f64>, EafoError> {
    let Some(inside) = inside.map(str::trim).filter(|inside| !inside.is_empty()) else { return Ok(Vec::new()) };
    let number = |part: &str| {
        part.trim().parse::<f64>().ok().filter(|number| !number.is_nan()).ok_or_else(|| EafoError::Text {
            text: text.to_owned(),
            reason: format!("`{}` is not a number", part.trim()),
        })
    };
    inside.split(',').map(number).collect()
}

fn file<'a>(text: &str, inside: Option<&'a str>) -> Result<&'a str, EafoError> {
    let path = inside.map(str::trim).filter(|path| !path.is_empty());
    path.ok_or_else(|| EafoError::Text {
        text: text.to_owned(),
        reason: "there is no file in parentheses; write kde(samples.txt), with a number a line, or layers(layers.json)"
            .to_owned(),
    })
}

/// The numbers of a text file, separated by white space or commas; lines that begin with `#` are left out.
///
/// # Errors
/// [`EafoError::File`] where it cannot be read or something in it is no finite number, with the line.
pub fn read_samples(path: &Path) -> Result<Vec<f64>, EafoError> {
    let refuse = |reason: String| EafoError::File { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    let mut samples = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
        for word in line.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()) {
            let number = word.parse::<f64>().ok().filter(|number| number.is_finite());
            samples.push(number.ok_or_else(|| refuse(format!("line {}: `{word}` is not a finite number", index + 1)))?);
        }
    }
    Ok(samples)
}
