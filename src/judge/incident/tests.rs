//! The story of an incident: every pair of state and event. Legal pairs are listed; all others must fail.

use super::*;
use crate::model::id::Digest;
use crate::model::seen::Stamp;

fn id(text: &str) -> IncidentId {
    IncidentId::new(text).unwrap()
}

fn opened() -> Event {
    Event::Opened {
        resource: ResourceName::new("r0").unwrap(),
        plan: PlanId(Digest([1; 32])),
        consent: Consent::Operator,
    }
}

fn intent(step: usize) -> Event {
    Event::Intent { step, name: StepName::new("w", Stage::Quiesce) }
}

fn ended(step: usize, end: End) -> Event {
    Event::Ended { step, end }
}

fn parked() -> Event {
    Event::Parked { why: Why::from("y"), next: "n".into() }
}

fn followed() -> Event {
    Event::Followed { plan: PlanId(Digest([2; 32])), consent: Consent::Policy }
}

fn closed(outcome: Outcome) -> Event {
    Event::Closed { outcome }
}

fn not_done() -> End {
    End::NotDone(Why::from("y"))
}

fn unknown() -> End {
    End::Unknown(Why::from("y"))
}

fn torn() -> Event {
    Event::TornTailCut { bytes: 1, kept_as: "k".into() }
}

fn record(seq: u64, event: Event) -> Record {
    Record { seq, at: Stamp(0), incident: Some(id("i")), event }
}

/// The incident these events lead to.
fn after(events: &[Event]) -> Option<Incident> {
    (1..)
        .zip(events)
        .fold(None, |incident, (seq, event)| Some(advance(incident, &record(seq, event.clone())).unwrap()))
}

/// A story that leads to each kind of state, under a label.
fn stories() -> Vec<(&'static str, Vec<Event>)> {
    let two = || vec![opened(), intent(0), ended(0, End::Done), intent(1), ended(1, End::AlreadySo)];
    let then = |more: &[Event]| [two(), more.to_vec()].concat();
    vec![
        ("none", vec![]),
        ("fresh", vec![opened()]),
        ("after 1", two()),
        ("resumed after 1", then(&[Event::Resumed])),
        ("redone 0", then(&[Event::Resumed, intent(0), ended(0, End::Done)])),
        ("in 2", then(&[intent(2)])),
        ("redoing 1", then(&[Event::Resumed, intent(1)])),
        ("2 not done", then(&[intent(2), ended(2, not_done())])),
        ("2 unknown", then(&[intent(2), ended(2, unknown())])),
        ("1 not redone", then(&[Event::Resumed, intent(1), ended(1, not_done())])),
        ("parked", then(&[parked()])),
        ("fenced", then(&[Event::Fenced])),
        ("followed", then(&[Event::Fenced, followed()])),
        ("healed", then(&[closed(Outcome::Healed)])),
        ("undone", then(&[closed(Outcome::Undone)])),
        ("abandoned", vec![opened(), closed(Outcome::Abandoned)]),
    ]
}

fn events() -> Vec<Event> {
    let mut events = vec![opened(), parked(), Event::Resumed, torn(), Event::Fenced, followed()];
    for step in [0, 1, 2, 3, 4, usize::MAX] {
        events.push(intent(step));
        for end in [End::Done, End::AlreadySo, not_done(), unknown()] {
            events.push(ended(step, end));
        }
    }
    events.extend([Outcome::Healed, Outcome::Undone, Outcome::Abandoned].map(closed));
    events
}

/// A state in short.
fn short(state: &IncidentState) -> String {
    match state {
        IncidentState::Ready { next_step, floor } => format!("ready {floor}..={next_step}"),
        IncidentState::InStep { step, next_step, .. } => format!("in {step}, next {next_step}"),
        IncidentState::Stopped { step, end, next_step } => {
            let how = if matches!(end, End::NotDone(_)) { "not done" } else { "unknown" };
            format!("stopped {step} {how}, next {next_step}")
        }
        IncidentState::Parked { next_step, .. } => format!("parked, next {next_step}"),
        IncidentState::Fenced { next_step } => format!("fenced, next {next_step}"),
        IncidentState::Closed { outcome } => format!("closed {outcome:?}"),
    }
}

fn brief(event: &Event) -> String {
    match event {
        Event::Opened { .. } => "open".into(),
        Event::Intent { step, .. } => format!("intent {step}"),
        Event::Ended { step, end: End::Done } => format!("done {step}"),
        Event::Ended { step, end: End::AlreadySo } => format!("already {step}"),
        Event::Ended { step, end: End::NotDone(_) } => format!("not {step}"),
        Event::Ended { step, end: End::Unknown(_) } => format!("unknown {step}"),
        Event::Parked { .. } => "park".into(),
        Event::Resumed => "resume".into(),
        Event::Fenced => "fence".into(),
        Event::Followed { .. } => "follow".into(),
        Event::Closed { outcome } => format!("close {outcome:?}"),
        Event::TornTailCut { .. } => "torn".into(),
    }
}

/// Every legal pair, and where it leads.
const LEGAL: &[(&str, &str, &str)] = &[
    ("none", "open", "ready 0..=0"),
    ("fresh", "intent 0", "in 0, next 0"),
    ("fresh", "park", "parked, next 0"),
    ("fresh", "resume", "ready 0..=0"),
    ("fresh", "close Abandoned", "closed Abandoned"),
    ("after 1", "intent 2", "in 2, next 2"),
    ("after 1", "park", "parked, next 2"),
    ("after 1", "resume", "ready 0..=2"),
    ("after 1", "close Healed", "closed Healed"),
    ("after 1", "close Undone", "closed Undone"),
    ("after 1", "close Abandoned", "closed Abandoned"),
    ("after 1", "fence", "fenced, next 2"),
    ("resumed after 1", "fence", "fenced, next 2"),
    ("redone 0", "fence", "fenced, next 2"),
    ("fenced", "park", "parked, next 2"),
    ("fenced", "resume", "ready 0..=2"),
    ("fenced", "follow", "ready 0..=0"),
    ("fenced", "close Abandoned", "closed Abandoned"),
    ("followed", "intent 0", "in 0, next 0"),
    ("followed", "park", "parked, next 0"),
    ("followed", "resume", "ready 0..=0"),
    ("followed", "close Abandoned", "closed Abandoned"),
    ("resumed after 1", "intent 0", "in 0, next 2"),
    ("resumed after 1", "intent 1", "in 1, next 2"),
    ("resumed after 1", "intent 2", "in 2, next 2"),
    ("resumed after 1", "park", "parked, next 2"),
    ("resumed after 1", "resume", "ready 0..=2"),
    ("resumed after 1", "close Healed", "closed Healed"),
    ("resumed after 1", "close Undone", "closed Undone"),
    ("resumed after 1", "close Abandoned", "closed Abandoned"),
    ("redone 0", "intent 1", "in 1, next 2"),
    ("redone 0", "intent 2", "in 2, next 2"),
    ("redone 0", "park", "parked, next 2"),
    ("redone 0", "resume", "ready 0..=2"),
    ("redone 0", "close Healed", "closed Healed"),
    ("redone 0", "close Undone", "closed Undone"),
    ("redone 0", "close Abandoned", "closed Abandoned"),
    ("in 2", "done 2", "ready 3..=3"),
    ("in 2", "already 2", "ready 3..=3"),
    ("in 2", "not 2", "stopped 2 not done, next 2"),
    ("in 2", "unknown 2", "stopped 2 unknown, next 2"),
    ("in 2", "park", "parked, next 2"),
    ("in 2", "resume", "ready 0..=2"),
    ("redoing 1", "done 1", "ready 2..=2"),
    ("redoing 1", "already 1", "ready 2..=2"),
    ("redoing 1", "not 1", "stopped 1 not done, next 2"),
    ("redoing 1", "unknown 1", "stopped 1 unknown, next 2"),
    ("redoing 1", "park", "parked, next 2"),
    ("redoing 1", "resume", "ready 0..=2"),
    ("2 not done", "park", "parked, next 2"),
    ("2 not done", "resume", "ready 0..=2"),
    ("2 not done", "close Abandoned", "closed Abandoned"),
    ("2 unknown", "park", "parked, next 2"),
    ("2 unknown", "resume", "ready 0..=2"),
    ("1 not redone", "park", "parked, next 2"),
    ("1 not redone", "resume", "ready 0..=2"),
    ("1 not redone", "close Abandoned", "closed Abandoned"),
    ("parked", "resume", "ready 0..=2"),
    ("parked", "close Undone", "closed Undone"),
    ("parked", "close Abandoned", "closed Abandoned"),
];

#[test]
fn every_legal_pair_is_listed_and_all_others_fail() {
    let mut used = 0;
    for (label, story) in stories() {
        let seq = story.len() as u64 + 1;
        for event in events() {
            let legal = LEGAL.iter().find(|(from, by, _)| *from == label && *by == brief(&event));
            let record = record(seq, event.clone());
            match (advance(after(&story), &record), legal) {
                (Ok(incident), Some((_, _, to))) => {
                    assert_eq!(short(&incident.state), *to, "{label} + {}", brief(&event));
                    assert_eq!(incident.history.last(), Some(&record));
                    assert_eq!(incident.history.len(), story.len() + 1);
                    used += 1;
                }
                (Err(error), None) => {
                    assert_eq!(error.previous.as_deref(), story.last(), "{label} + {}", brief(&event));
                    assert_eq!(*error.event, event);
                    assert_eq!(error.seq, seq);
                }
                (Ok(incident), None) => {
                    panic!("{label} + {} led to {}", brief(&event), short(&incident.state));
                }
                (Err(error), Some(_)) => panic!("{label} + {}: {error}", brief(&event)),
            }
        }
    }
    assert_eq!(used, LEGAL.len(), "a listed pair was never met");
}

#[test]
fn records_of_others_are_refused() {
    let incident = after(&[opened()]);
    for name in [None, Some(id("other"))] {
        let record = Record { incident: name, ..record(2, intent(0)) };
        assert_eq!(advance(incident.clone(), &record).unwrap_err().rule, Rule::OwnRecords);
    }
    let nameless = Record { incident: None, ..record(1, opened()) };
    assert_eq!(advance(None, &nameless).unwrap_err().rule, Rule::OwnRecords);
}

#[test]
fn the_message_names_both_events_and_the_rule() {
    let error = advance(after(&[opened(), intent(0)]), &record(3, intent(1))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "record 3: the intent of step 1 (w) cannot follow the intent of step 0 (w): a step is declared only \
         when no other is under way, failed or parked"
    );
    let error = advance(None, &record(1, Event::Resumed)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "record 1: the resumption cannot follow nothing: an incident's first record opens it"
    );
}

#[test]
fn incidents_interleave_and_check_agrees_with_apply() {
    let mut incidents = Incidents::default();
    let mut seq = 0;
    let mut put = |incidents: &mut Incidents, name: Option<&str>, event: Event| {
        seq += 1;
        let record = Record { incident: name.map(id), ..record(seq, event) };
        let before = incidents.clone();
        let checked = incidents.check(&record);
        let applied = incidents.apply(&record);
        assert_eq!(checked, applied);
        if applied.is_err() {
            assert_eq!(*incidents, before);
        }
        applied.is_ok()
    };
    assert!(put(&mut incidents, Some("x"), opened()));
    assert!(put(&mut incidents, None, torn()));
    assert!(put(&mut incidents, Some("y"), opened()));
    assert!(put(&mut incidents, Some("y"), intent(0)));
    assert!(put(&mut incidents, Some("x"), intent(0)));
    assert!(!put(&mut incidents, Some("x"), opened()));
    assert!(!put(&mut incidents, Some("z"), intent(0)));
    assert!(!put(&mut incidents, None, intent(0)));
    assert!(!put(&mut incidents, Some("x"), torn()));
    assert!(!put(&mut incidents, Some("z"), torn()));
    assert!(put(&mut incidents, Some("y"), ended(0, End::Done)));
    let names: Vec<_> = incidents.as_slice().iter().map(|incident| incident.id.to_string()).collect();
    assert_eq!(names, ["x", "y"]);
    assert_eq!(short(&incidents.get(&id("x")).unwrap().state), "in 0, next 0");
    assert_eq!(short(&incidents.get(&id("y")).unwrap().state), "ready 1..=1");
    assert_eq!(incidents.get(&id("y")).unwrap().history.len(), 3);
    assert_eq!(incidents.get(&id("z")), None);
}

/// The steps of two plans have the same numbers.
#[test]
fn what_was_done_is_told_of_the_plan_that_is_carried_out() {
    let fence = |step| Event::Intent { step, name: StepName::new("fence", Stage::Fence) };
    let keep = |step| Event::Intent { step, name: StepName::new("preserve", Stage::Preserve) };
    let fenced = vec![opened(), fence(0), ended(0, End::Done), intent(1), ended(1, End::Done), Event::Fenced];
    let before = after(&fenced).unwrap();
    assert!(before.declared(1) && before.ended_well(1) && !before.touched());
    let then = |more: &[Event]| after(&[fenced.clone(), vec![followed()], more.to_vec()].concat()).unwrap();
    let now = then(&[]);
    assert_eq!((now.plan, now.consent), (PlanId(Digest([2; 32])), Consent::Policy));
    assert!(!now.declared(0) && !now.declared(1) && !now.ended_well(1) && now.reached(Stage::Fence));
    // That the first plan's step 0 ended well says nothing of a copy that the second one did not take.
    assert!(!then(&[keep(0), ended(0, not_done())]).preserved());
    assert!(then(&[keep(0), ended(0, End::Done)]).preserved());
}
