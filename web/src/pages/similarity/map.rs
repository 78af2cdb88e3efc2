//! The sentences in the plane of their principal components.

use anaume_core::plot::{Group, PlaneChart};
use leptos::prelude::*;

use super::Answer;
use crate::pages::results::lone_chart;
use crate::texts::Language;

/// The figure, where the sentences differ.
pub(super) fn view(language: Language, answer: &Answer) -> Option<impl IntoView + use<>> {
    let map = answer.comparison.map.as_ref()?;
    let (first, second) = map.points.split_at(answer.first.len());
    let group = |name: &str, texts: &[String], points: &[[f64; 2]]| Group {
        name: name.into(),
        texts: texts.iter().cloned().zip(points.iter().map(|point| (point[0], point[1]))).collect(),
    };
    let mut groups = vec![group(language.pick("文", "sentences"), &answer.first, first)];
    if !second.is_empty() {
        groups.push(group(language.pick("比べる相手", "compared with"), &answer.second, second));
    }
    let axis = |number: usize| {
        let share = map.shares[number] * 100.0;
        match language {
            Language::Japanese => format!("第 {} 主成分 (分散の {share:.0} %)", number + 1),
            Language::English => format!("principal component {} ({share:.0} % of the variance)", number + 1),
        }
    };
    let title = language.pick("文の地図 (主成分分析)", "Map of the sentences (principal components)").into();
    let chart = PlaneChart { title, x_label: axis(0), y_label: axis(1), groups, notes: Vec::new() };
    Some(lone_chart("sentences", Box::new(chart)))
}
