//! `rectify models`: the table of models, with what each costs and what its authors reached.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use plan::models::{TABLE, find};
use serde::Serialize;

use crate::cli;

/// One model.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    parameters: u64,
    /// Multiply-adds of one image, in thousand millions, as publications count GFLOPs.
    gflops: f64,
    image_size: usize,
    published_top1: Option<f64>,
    activation: String,
}

/// Prints the table, or a JSON object a line.
pub fn models(arguments: &cli::Models) {
    let rows: Vec<Row> = TABLE.iter().map(|entry| row(entry.name, entry.published_top1)).collect();
    if arguments.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row).expect("a row has string keys only"));
        }
        return;
    }
    println!("{}", table(&rows));
    println!(
        "GFLOPs count a multiply-add once, as publications do. Top-1: on ImageNet-1K, trained on that alone, as its authors \
         published it.\nActivation: the model's own; `model.activation` takes any other."
    );
}

fn row(name: &'static str, published_top1: Option<f64>) -> Row {
    let spec = find(name).expect("a model of the table");
    Row {
        name,
        parameters: spec.parameters(),
        gflops: spec.flops() as f64 / 2e9,
        image_size: spec.image_size,
        published_top1,
        activation: spec.activations.default.function.to_string(),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["model", "parameters (M)", "GFLOPs", "pixels", "top-1 (%)", "activation"]);
    for row in rows {
        table.add_row([
            row.name.to_owned(),
            format!("{:.1}", row.parameters as f64 / 1e6),
            format!("{:.2}", row.gflops),
            row.image_size.to_string(),
            row.published_top1.map_or_else(|| "–".to_owned(), |top1| format!("{top1:.1}")),
            row.activation.clone(),
        ]);
    }
    for column in 1..=4 {
        table.column_mut(column).expect("six columns").set_cell_alignment(CellAlignment::Right);
    }
    table
}
