//! The writer judges the condition of a write, so that no other write comes between the judgement and the write.

use overlaid::domain::Condition;
use overlaid::service::ServiceError;

use crate::kit::{World, object, user_id};

/// `If-Match: *` asks for a record, and not for the one that was there when the request came.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_needs_any_record_is_not_refused_because_of_another_write() {
    let world = World::new();
    world.put_overlay(r#"{"user_id":"7","account_balance":1}"#).await;
    let patches: Vec<_> = (0..64)
        .map(|balance| {
            let service = world.service.clone();
            tokio::spawn(async move {
                let patch = object(&format!("{{\"account_balance\":{balance}}}"));
                service.patch_overlay(user_id("7"), patch, Condition::Exists).await.map(|_| ())
            })
        })
        .collect();
    for patch in patches {
        patch.await.unwrap().unwrap();
    }
    world.service.stop();
}

#[tokio::test]
async fn of_two_writes_that_rest_on_the_same_state_one_is_refused() {
    let world = World::new();
    world.put_overlay(r#"{"user_id":"7","account_balance":1}"#).await;
    let seq = world.service.overlay(&user_id("7")).await.unwrap().seq();
    let patch = |balance: u32| {
        let patch = object(&format!("{{\"account_balance\":{balance}}}"));
        async { world.service.patch_overlay(user_id("7"), patch, Condition::SeqIn(vec![seq])).await.map(|_| ()) }
    };
    let (one, other) = tokio::join!(patch(2), patch(3));
    let refused = [one, other].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert!(matches!(*refused, [ServiceError::ConditionFailed]), "{refused:?}");
}
