use super::*;
use crate::cluster::tests::{Seen, change, healthy, replicated};

/// What is drawn of these answers in so many columns.
fn drawn(all: &[Seen], width: Option<usize>) -> String {
    let mut page = Page::new(false, width);
    Drawn::of(&Picture::of(all)).page(&mut page);
    page.text().to_owned()
}

#[test]
fn a_small_cluster_is_one_table() {
    let head = "NODE      ADDRESS        STATE    OWNS                        SLOTS    KEYS  \
                CHECKS/S  PROXIED  UNSYNCED  ROUND TRIP\n";
    let line = |n: u8, bar: &str, slots: &str| {
        format!(
            "0000000{n}  10.0.0.{n}:7400  alive  33.3 %  {bar}  {slots}  12,345     9,000   \
             10.0 %         3      500 µs\n"
        )
    };
    let (full, less) = ("█".repeat(20), "█".repeat(19) + "▉");
    let lines = [
        line(1, &full, "1,366"),
        line(2, &less, "1,365"),
        line(3, &less, "1,365"),
    ];
    assert_eq!(drawn(&healthy(3), None), head.to_owned() + &lines.concat());
    let alone = drawn(&healthy(1), None);
    assert_eq!(alone.lines().count(), 2, "{alone}");
    assert!(
        alone.contains("100.0 %") && alone.contains("4,096"),
        "{alone}"
    );
}

#[test]
fn a_narrow_terminal_is_told_what_it_lacks_and_no_line_is_longer() {
    for count in [1, 3, 30] {
        for width in [60, 80, 100, 120, 200] {
            let text = drawn(&healthy(count), Some(width));
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width), "{count} nodes, {width}:\n{text}");
            assert!(text.contains("OWNS") && text.contains("alive"), "{text}");
            let told = text.contains("no room for");
            assert!(
                if width < 100 {
                    told
                } else {
                    width == 100 || !told
                },
                "{width}:\n{text}"
            );
        }
    }
}

#[test]
fn what_moves_and_what_is_wrong_stands_below() {
    let mut all = healthy(3);
    all[2].answer = Err("no answer within 3 s".into());
    change(&mut all, 0, |ring| {
        let mut hand_off = HandOff::default();
        (hand_off.from, hand_off.to) = (1 << 96, 2 << 96);
        (hand_off.slots, hand_off.bytes) = (341, 3 << 20);
        hand_off.step = "pre-copy".into();
        ring.hand_offs = vec![hand_off; 21];
    });
    let text = drawn(&all, None);
    for said in [
        "alive, silent",
        "hand-offs\nFROM      TO        SLOTS  STEP        MOVED\n\
         00000001  00000002    341  pre-copy  3.0 MiB\n",
        "… and 1 more\n",
        "not as it should be, or not yet: slots are moving\n00000003 at 10.0.0.99:7400 does not answer: no answer within 3 s\n",
    ] {
        assert!(text.contains(said), "{said}\nis not in\n{text}");
    }
}

#[test]
fn replicas_have_columns_where_there_are_some_and_too_few_of_them_are_counted() {
    let mut all = replicated(4);
    change(&mut all, 1, |ring| {
        ring.replicas.behind = 17;
        ring.replicas.sets[0].in_sync = 0b101;
    });
    let text = drawn(&all, None);
    let heads: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads[3..8], ["OWNS", "SLOTS", "REPLICAS", "BEHIND", "KEYS"]);
    let second: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(second[6..9], ["1,024", "2,048", "17"]);
    assert!(
        text.contains("under-replicated: 1,024 (on fewer than 3 nodes in sync)"),
        "{text}"
    );
    let json = serde_json::to_value(Drawn::of(&Picture::of(&all))).unwrap();
    assert_eq!(json["under_replicated"], 1024);
    assert_eq!(json["nodes"][1]["behind"], 17);
    assert!(!drawn(&replicated(4), None).contains("under-replicated"));
}

#[test]
fn scripts_find_the_same_by_name() {
    let mut all = healthy(2);
    all[1].answer = Err("gone".into());
    let json = serde_json::to_value(Drawn::of(&Picture::of(&all))).unwrap();
    assert_eq!(json["slot_count"], 4096);
    assert_eq!(json["agreed"], false);
    assert_eq!(
        json["nodes"][0]["node"],
        "00000001-0000-0000-0000-000000000000"
    );
    assert_eq!(json["nodes"][0]["checks_per_second"], 9000);
    assert_eq!(json["nodes"][0]["proxied_per_second"], 1000);
    assert_eq!(json["nodes"][0]["target_slots"], 2048);
    assert_eq!(json["nodes"][1]["keys"], serde_json::Value::Null);
    assert_eq!(json["remarks"].as_array().unwrap().len(), 1);
}
