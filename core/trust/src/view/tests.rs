use super::*;
use crate::certificate::Claim;
use crate::key::{FabricRoot, HostKey};
use crate::token::{Token, proof};

const NOW: WallTime = WallTime::from_millis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn key(number: u8) -> HostKey {
    HostKey::from_seed([number; 32])
}

fn root() -> FabricRoot {
    FabricRoot::from_seed([100; 32])
}

/// A fabric whose hosts 1, 2 and 3 are known, of which 3 was forgotten.
fn view() -> TrustView {
    TrustView {
        fabric: root().id(),
        root_public: root().public(),
        members: [1, 2, 3].map(|n| (key(n).id(), key(n).public())).into(),
        forgotten: [key(3).id()].into(),
        tokens: BTreeMap::new(),
    }
}

fn claim(number: u8) -> Claim {
    Claim { fabric: root().id(), key: key(number).public(), name: "web".parse().unwrap(), from: NOW }
}

fn issued(number: u8, by: u8) -> Certificate {
    Certificate::issue_by_member(&key(by), claim(number))
}

fn back(wall: WallTime, by: Duration) -> WallTime {
    WallTime::from_millis(wall.as_millis() - u64::try_from(by.as_millis()).unwrap())
}

fn cause(certificate: &Certificate, wall: WallTime) -> Option<Cause> {
    view().judge(certificate, wall).err().map(|distrust| distrust.cause)
}

#[test]
fn the_root_and_any_member_may_issue() {
    assert_eq!(cause(&Certificate::issue_by_root(&root(), claim(9)), NOW), None);
    assert_eq!(cause(&issued(9, 1), NOW), None);
}

#[test]
fn a_known_key_needs_no_known_issuer() {
    assert_eq!(cause(&issued(1, 50), NOW), None);
    assert_eq!(cause(&issued(1, 3), NOW), None);
}

#[test]
fn an_unknown_key_needs_an_issuer_in_good_standing() {
    assert_eq!(cause(&issued(9, 50), NOW), Some(Cause::UnknownIssuer { issuer: key(50).id() }));
    assert_eq!(cause(&issued(9, 3), NOW), Some(Cause::ForgottenIssuer { issuer: key(3).id() }));
    assert_eq!(cause(&issued(9, 9), NOW), Some(Cause::UnknownIssuer { issuer: key(9).id() }));
}

#[test]
fn a_forgotten_host_is_refused_whoever_signed_for_it() {
    assert_eq!(cause(&issued(3, 1), NOW), Some(Cause::Forgotten));
    assert_eq!(cause(&Certificate::issue_by_root(&root(), claim(3)), NOW), Some(Cause::Forgotten));
}

#[test]
fn a_certificate_of_another_fabric_is_refused() {
    let other = FabricRoot::from_seed([101; 32]);
    let foreign = Certificate::issue_by_root(&other, Claim { fabric: other.id(), ..claim(9) });
    assert_eq!(cause(&foreign, NOW), Some(Cause::OtherFabric { theirs: other.id(), ours: root().id() }));
    let pretending = Certificate::issue_by_root(&other, claim(9));
    assert_eq!(cause(&pretending, NOW), Some(Cause::Forged));
}

#[test]
fn an_id_that_is_not_its_keys_is_refused() {
    let stolen = Certificate { host: key(1).id(), ..issued(9, 2) };
    assert_eq!(cause(&stolen, NOW), Some(Cause::WrongId));
}

#[test]
fn clocks_may_differ_by_an_hour_on_either_end() {
    let certificate = issued(1, 2);
    let skew = TrustView::CLOCK_SKEW;
    let tick = Duration::from_millis(1);
    assert_eq!(cause(&certificate, back(NOW, skew)), None);
    let early = Cause::NotYetValid { ahead: skew + tick };
    assert_eq!(cause(&certificate, back(NOW, skew + tick)), Some(early));
    let end = certificate.not_after;
    assert_eq!(cause(&certificate, end + skew), None);
    assert_eq!(cause(&certificate, end + skew + tick), Some(Cause::Expired { ago: skew + tick }));
}

#[test]
fn a_certificate_cannot_be_made_to_last() {
    for not_after in [NOW, NOW + Certificate::LIFETIME + Duration::from_millis(1)] {
        assert_eq!(cause(&Certificate { not_after, ..issued(1, 2) }, NOW), Some(Cause::OddDates));
    }
}

#[test]
fn a_changed_certificate_of_a_known_issuer_is_refused_even_for_a_known_key() {
    let renamed = Certificate { name: "db".parse().unwrap(), ..issued(1, 2) };
    assert_eq!(cause(&renamed, NOW), Some(Cause::Forged));
}

#[test]
fn every_refusal_is_a_sentence_that_says_what_to_do() {
    let late = NOW + Certificate::LIFETIME + 3 * DAY;
    let certificate = issued(1, 2);
    let short = key(1).id().short();
    assert_eq!(
        view().judge(&certificate, late).unwrap_err().to_string(),
        format!("the certificate of web ({short}) ended 3 days ago: run `shoal join` there again")
    );
    let id = key(5).id();
    let causes = [
        Cause::WrongId,
        Cause::OtherFabric { theirs: root().id(), ours: root().id() },
        Cause::Forgotten,
        Cause::NotYetValid { ahead: DAY },
        Cause::Expired { ago: DAY },
        Cause::OddDates,
        Cause::UnknownIssuer { issuer: id },
        Cause::ForgottenIssuer { issuer: id },
        Cause::Forged,
    ];
    for cause in causes {
        let text = Distrust { name: "web".parse().unwrap(), host: id, cause }.to_string();
        assert!(text.contains(&format!("web ({})", id.short())), "{text}");
        assert!(text.contains(": ") && (text.contains('`') || text.contains("clocks")), "{text}");
    }
}

#[test]
fn a_token_is_known_until_it_ends_and_then_said_to_have_ended() {
    let token = Token::new(root().id(), [5; 20], NOW);
    let mut view = view();
    let shown = proof(&token.verifier(), &[1; 32], Role::Joiner);
    assert_eq!(view.admit(&shown, &[1; 32], back(NOW, DAY)), Err(TokenRefusal::Unknown));
    view.tokens.insert(token.verifier(), token.expires());
    assert_eq!(view.admit(&shown, &[1; 32], back(NOW, DAY)), Ok(token.verifier()));
    assert_eq!(view.admit(&shown, &[1; 32], NOW), Err(TokenRefusal::Expired { at: NOW }));
    assert_eq!(view.admit(&shown, &[2; 32], back(NOW, DAY)), Err(TokenRefusal::Unknown));
}
