//! From the bytes of a frame to tags and label stack (§4 of the semantics).

/// Destination and source address stand before the first type.
const ADDRESSES: usize = 12;
/// The types that announce a tag (§4.1).
const TAG_TYPES: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// So many tags are walked (§4.1).
const MAX_TAGS: usize = 4;
/// The VLAN ID's share of the two bytes after a tag type; priority and DEI take the rest.
const VID_MASK: u16 = 0x0fff;

const MPLS: u16 = 0x8847;
const MPLS_UPSTREAM: u16 = 0x8848;

/// What a frame turns out to be before its ingress is known.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Sighting<'a> {
    /// Another type, or the frame ends before its type is complete (§4.2).
    NotMpls,
    /// A tag type after four tags (§4.2).
    TooManyTags,
    /// A labelled frame.
    Mpls(Mpls<'a>),
}

/// A labelled frame.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Mpls<'a> {
    /// The type is 0x8848: the labels are upstream-assigned.
    pub(super) upstream: bool,
    /// The VLAN IDs other than 0, outer to inner (§4.1, §4.3).
    pub(super) vids: Vec<u16>,
    /// Everything after the type, to the end of the frame.
    pub(super) stack: &'a [u8],
}

/// Walks the tags of a frame (§4.1, §4.2).
pub(super) fn sight(frame: &[u8]) -> Sighting<'_> {
    walk(frame).unwrap_or(Sighting::NotMpls)
}

/// As [`sight`], with `None` for a frame that ends too early.
fn walk(frame: &[u8]) -> Option<Sighting<'_>> {
    let mut rest = frame.get(ADDRESSES..)?;
    let mut vids = Vec::new();
    let mut tags = 0;
    loop {
        let (kind, after_type) = take_u16(rest)?;
        if !TAG_TYPES.contains(&kind) {
            return Some(by_type(kind, vids, after_type));
        }
        // This comes before anything about the rest of the frame, which may even be missing.
        if tags == MAX_TAGS {
            return Some(Sighting::TooManyTags);
        }
        let (control, after_tag) = take_u16(after_type)?;
        // VID 0 only carries a priority: it is walked, but binds to nothing.
        vids.extend(Some(control & VID_MASK).filter(|&vid| vid != 0));
        tags += 1;
        rest = after_tag;
    }
}

/// Sorts a frame by the type after its tags (§4.2).
fn by_type(kind: u16, vids: Vec<u16>, stack: &[u8]) -> Sighting<'_> {
    match kind {
        MPLS | MPLS_UPSTREAM => {
            Sighting::Mpls(Mpls { upstream: kind == MPLS_UPSTREAM, vids, stack })
        }
        _ => Sighting::NotMpls,
    }
}

/// The next two bytes, in network order, and what follows them.
fn take_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(after_addresses: &[u8]) -> Vec<u8> {
        [&[0xff; ADDRESSES], after_addresses].concat()
    }

    fn mpls(upstream: bool, vids: &[u16], stack: &'static [u8]) -> Sighting<'static> {
        Sighting::Mpls(Mpls { upstream, vids: vids.to_vec(), stack })
    }

    #[test]
    fn an_untagged_frame_has_its_stack_after_the_type() {
        assert_eq!(sight(&frame(&[0x88, 0x47, 1, 2, 3])), mpls(false, &[], &[1, 2, 3]));
        assert_eq!(sight(&frame(&[0x88, 0x48])), mpls(true, &[], &[]));
    }

    #[test]
    fn every_tag_type_counts_and_only_the_low_twelve_bits_are_the_vid() {
        let bytes = [0x81, 0, 0xf0, 200, 0x88, 0xa8, 0x1f, 0xff, 0x91, 0, 0, 7, 0x88, 0x47];
        assert_eq!(sight(&frame(&bytes)), mpls(false, &[200, 4095, 7], &[]));
    }

    #[test]
    fn vid_0_is_walked_but_no_part_of_the_binding() {
        let bytes = [0x81, 0, 0xe0, 0, 0x81, 0, 0, 5, 0x81, 0, 0, 0, 0x81, 0, 0, 6, 0x88, 0x47, 9];
        assert_eq!(sight(&frame(&bytes)), mpls(false, &[5, 6], &[9]));
    }

    #[test]
    fn a_fifth_tag_type_is_too_deep_whatever_follows_or_is_missing() {
        let four = [0x81, 0, 0, 0].repeat(4);
        for fifth in [[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00]] {
            for tail in [&[][..], &[0], &[0, 1], &[0, 1, 0x08, 0x00], &[0, 1, 0x88, 0x47]] {
                let bytes = [&four, &fifth[..], tail].concat();
                assert_eq!(sight(&frame(&bytes)), Sighting::TooManyTags, "{fifth:x?} {tail:x?}");
            }
        }
        // Half a type is no type.
        assert_eq!(sight(&frame(&[&four[..], &[0x81]].concat())), Sighting::NotMpls);
    }

    #[test]
    fn other_types_are_not_mpls() {
        for kind in [0x0800_u16, 0x86dd, 0x8846, 0x8849, 0x88a7, 0x9200, 0x0000, 0x4788] {
            assert_eq!(sight(&frame(&kind.to_be_bytes())), Sighting::NotMpls, "{kind:#06x}");
        }
    }

    #[test]
    fn a_frame_that_ends_before_its_type_is_complete_is_not_mpls() {
        let whole = frame(&[0x81, 0, 0, 100, 0x88, 0x47]);
        for length in 0..whole.len() {
            assert_eq!(sight(&whole[..length]), Sighting::NotMpls, "{length} bytes");
        }
        assert_eq!(sight(&whole), mpls(false, &[100], &[]));
    }
}
