//! Join tokens: open on every host until they end, are revoked anywhere, or somebody who knew them is forgotten.

use std::time::Duration;

use shoal_trust::Token;

use crate::world::World;

const HOUR: Duration = Duration::from_secs(3_600);

fn make(world: &mut World, host: usize, secret: u8) -> Token {
    let at = world.at;
    let (token, effects) = world.fabric(host).token([secret; 20], HOUR, at).unwrap();
    world.act(host, effects);
    token
}

fn revoke(world: &mut World, host: usize, which: Option<&str>) -> Result<Vec<String>, String> {
    let at = world.at;
    let (names, effects) = world.fabric(host).revoke_tokens(which, at)?;
    world.act(host, effects);
    Ok(names)
}

fn forget(world: &mut World, host: usize, whom: &str) {
    let at = world.at;
    let (_, effects) = world.fabric(host).forget(whom, at).unwrap();
    world.act(host, effects);
}

fn open(world: &mut World, host: usize) -> Vec<String> {
    let wall = world.at.wall;
    world.fabric(host).open_tokens(wall).into_iter().map(|token| token.name).collect()
}

/// Whether the host would let somebody in with this token.
fn admits(world: &World, host: usize, token: &Token) -> bool {
    world.hosts[host].trust.as_ref().unwrap().tokens.contains_key(&token.verifier())
}

/// Three hosts, without the tokens with which they joined.
fn fabric_of_three() -> World {
    let mut world = World::joined(3);
    revoke(&mut world, 0, None).unwrap();
    world.run(2);
    world
}

#[test]
fn a_token_is_revoked_on_any_host_by_its_name_or_its_text_and_only_it() {
    let mut world = fabric_of_three();
    let tokens: Vec<Token> = (1..=3).map(|secret| make(&mut world, 0, secret)).collect();
    world.run(2);
    assert_eq!(revoke(&mut world, 1, Some(&tokens[0].name())), Ok(vec![tokens[0].name()]));
    assert_eq!(revoke(&mut world, 2, Some(&tokens[1].reveal())), Ok(vec![tokens[1].name()]));
    world.run(2);
    for host in 0..3 {
        assert_eq!(open(&mut world, host), [tokens[2].name()], "host {host}");
        let admitted: Vec<bool> = tokens.iter().map(|token| admits(&world, host, token)).collect();
        assert_eq!(admitted, [false, false, true], "host {host}");
    }
    let refusal = revoke(&mut world, 0, Some(&tokens[0].name())).unwrap_err();
    assert!(refusal.contains("no open token") && refusal.contains("shoal token list"), "{refusal}");
    world.restart(0);
    assert!(!admits(&world, 0, &tokens[0]) && admits(&world, 0, &tokens[2]), "it stays so after a restart");
}

#[test]
fn all_tokens_are_revoked_at_once_and_one_that_ended_is_not_open() {
    let mut world = fabric_of_three();
    make(&mut world, 0, 1);
    make(&mut world, 1, 2);
    world.run(2);
    assert_eq!(open(&mut world, 2).len(), 2);
    assert_eq!(revoke(&mut world, 2, None).unwrap().len(), 2);
    world.run(2);
    assert!((0..3).all(|host| open(&mut world, host).is_empty()));
    make(&mut world, 0, 3);
    let after = world.at.wall + HOUR;
    assert!(world.fabric(0).open_tokens(after).is_empty());
}

#[test]
fn forgetting_a_host_ends_the_tokens_that_it_knew_and_what_it_revoked_stays_revoked() {
    let mut world = fabric_of_three();
    let of_others = [make(&mut world, 0, 1), make(&mut world, 1, 2)];
    let (revoked, its_own) = (make(&mut world, 0, 3), make(&mut world, 2, 4));
    world.run(2);
    revoke(&mut world, 2, Some(&revoked.name())).unwrap();
    world.run(2);
    forget(&mut world, 0, "host-2");
    world.run(2);
    for host in 0..2 {
        for token in of_others.iter().chain([&revoked, &its_own]) {
            assert!(!admits(&world, host, token), "host {host}, token {}", token.name());
        }
    }
    let fresh = make(&mut world, 1, 5);
    world.run(2);
    assert!(admits(&world, 0, &fresh), "one that is made afterwards is good");
}

#[test]
fn a_token_that_who_forgets_has_not_heard_of_ends_when_its_maker_hears() {
    let mut world = fabric_of_three();
    world.cut(0);
    let unheard = make(&mut world, 1, 1);
    world.run(2);
    forget(&mut world, 0, "host-2");
    assert!(admits(&world, 1, &unheard));
    world.heal(0);
    world.run(30);
    assert!((0..2).all(|host| !admits(&world, host, &unheard)));
}
