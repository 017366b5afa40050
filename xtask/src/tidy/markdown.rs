//! Links between the repository's own files lead somewhere, down to the heading.

use crate::Fault;
use crate::repository::TextFile;
use std::collections::BTreeMap;

/// Checks the links of all Markdown files; `exists` answers for paths relative to the repository's root.
pub(super) fn check(files: &[TextFile], exists: &dyn Fn(&str) -> bool) -> Vec<Fault> {
    let pages: BTreeMap<&str, Vec<String>> = files
        .iter()
        .filter(|file| file.has_extension("md"))
        .map(|file| (file.path.as_str(), headings(&file.text)))
        .collect();
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for (index, target) in links(&file.text) {
            if let Err(message) = resolve(&file.path, &target, &pages, exists) {
                faults.push(Fault::on_line(&file.path, index, message));
            }
        }
    }
    faults
}

fn resolve(
    page: &str,
    target: &str,
    pages: &BTreeMap<&str, Vec<String>>,
    exists: &dyn Fn(&str) -> bool,
) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { page.to_owned() } else { join(page, file)? };
    if !exists(&path) {
        return Err(format!("the link to `{target}` leads nowhere: there is no {path}"));
    }
    match pages.get(path.as_str()) {
        Some(headings) if !anchor.is_empty() && !headings.iter().any(|heading| heading == anchor) => {
            Err(format!("the link to `{target}` leads nowhere: {path} has no heading `#{anchor}`"))
        }
        _ => Ok(()),
    }
}

/// `target` as seen from the folder of `page`, relative to the root.
fn join(page: &str, target: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        return Err(format!("the link to `{target}` is absolute; make it relative to this file"));
    }
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." if parts.pop().is_none() => return Err(format!("the link to `{target}` leads out of the repository")),
            ".." => {}
            name => parts.push(name),
        }
    }
    Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// The text outside fenced code, with what stands in `code spans` taken out, by line.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut in_fence = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        in_fence ^= is_fence;
        let is_code = in_fence || is_fence;
        (!is_code).then(|| (index, line.split('`').step_by(2).collect::<Vec<_>>().join("`")))
    })
}

/// Line (from 0) and target of each `[text](target)`, `![image](target)` and `[name]: target`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (index, line) in prose(text) {
        let inline = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let reference = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        for target in inline.chain(reference) {
            // What follows a blank is the title.
            if let Some(target) = target.split_whitespace().next() {
                links.push((index, target.trim_matches(['<', '>']).to_owned()));
            }
        }
    }
    links
}

/// The anchors that a page's headings get: lower case, blanks to hyphens, other punctuation dropped.
fn headings(text: &str) -> Vec<String> {
    let mut in_fence = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        in_fence ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if in_fence || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        anchors.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase());
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let files = [
            TextFile::new("docs/page.md", text),
            TextFile::new("README.md", "# Rectify\n\n## What works, and what doesn't\n"),
        ];
        let there = ["docs/page.md", "README.md", "docs", ".", "docs/images/demo.svg"];
        check(&files, &|path| there.contains(&path)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_right() {
        let text = "# Page\n[a](../README.md) [b](page.md#page) [c](#page) [d](../README.md#what-works-and-what-doesnt)\n\
                    ![e](images/demo.svg \"a title\") [f](https://example.org/x) [`g`](./page.md) [h](..)\n\n[i]: ../README.md\n";
        assert_eq!(messages(text), Vec::<String>::new());
    }

    #[test]
    fn links_that_lead_nowhere_are_faults() {
        for target in ["gone.md", "../docs/gone.md", "/README.md", "../../out.md", "#gone", "../README.md#gone"] {
            let found = messages(&format!("# Page\n\nSee [this]({target}).\n"));
            assert_eq!(found.len(), 1, "{target}: {found:?}");
            assert!(found[0].starts_with("docs/page.md:3:"), "{found:?}");
        }
        assert_eq!(messages("[name]: gone.md\n").len(), 1);
    }

    #[test]
    fn code_is_not_read() {
        assert_eq!(messages("```\n[a](gone.md)\n```\nand `[b](gone.md)`\n"), Vec::<String>::new());
    }
}
