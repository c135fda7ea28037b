//! Plans as version 1 stored them: written from plans of today, for a state directory that has some.

use serde_json::{Value, json};
use unsplit::model::id::{Digest, PlanId};
use unsplit::model::plan::{Kind, Plan};
use unsplit::ports::store::Store;

/// Its text, and the folder that it stood in.
fn text(plan: &Plan) -> (&'static str, String) {
    let mut old = serde_json::to_value(plan).unwrap();
    let fields = old.as_object_mut().unwrap();
    let (volumes, ground) = (fields.remove("volumes").unwrap(), fields.remove("ground").unwrap());
    fields.remove("version");
    let folder = match plan.kind().unwrap() {
        Kind::Images(_) => {
            let (mut volume, mut ground) = (volumes[0].clone(), ground["images"].clone());
            for side in ["a", "b"] {
                ground["basis"][side]["source"] = volume["at"][side].clone();
            }
            // It was said only where there was none.
            if ground["common_base"] == true {
                ground.as_object_mut().unwrap().remove("common_base");
            }
            for gone in ["number", "at"] {
                volume.as_object_mut().unwrap().remove(gone);
            }
            fields.append(volume.as_object_mut().unwrap());
            fields.append(ground.as_object_mut().unwrap());
            "plans"
        }
        Kind::Drbd(_) => {
            let mut ground = ground["drbd"].clone();
            let grounds = ground.as_object_mut().unwrap().remove("volumes").unwrap();
            let volumes = volumes.as_array().unwrap().iter().zip(grounds.as_array().unwrap());
            let old = |(volume, ground): (&Value, &Value)| {
                let mut old = ground.clone();
                old["volume"] = volume["number"].clone();
                old["sources"] = volume["at"].clone();
                for same in ["size", "overwrite", "losses", "doubtful"] {
                    old[same] = volume[same].clone();
                }
                old
            };
            fields.insert("volumes".to_owned(), json!(volumes.map(old).collect::<Vec<_>>()));
            fields.append(ground.as_object_mut().unwrap());
            "live-plans"
        }
        Kind::Memory(_) | Kind::Fence(_) => panic!("no earlier version had such plans"),
    };
    // Its version came first.
    (folder, format!("{{\"version\":1,{}\n", &old.to_string()[1..]))
}

/// Stores it as it was stored then.
pub fn keep(store: &dyn Store, plan: &Plan) -> PlanId {
    let (folder, text) = text(plan);
    let id = PlanId(Digest(*blake3::hash(text.as_bytes()).as_bytes()));
    let name = format!("{folder}/{}.json", id.0);
    store.create_dir(folder).unwrap();
    store.create(&name).unwrap();
    store.write_at(&name, 0, text.as_bytes()).unwrap();
    store.sync(&name).unwrap();
    store.sync_dir(folder).unwrap();
    store.sync_dir("").unwrap();
    id
}
