//! Answers of several parts.

use super::*;

/// The parts of a `multipart/byteranges`: their fields and their content.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let boundary =
        answer.field(header::CONTENT_TYPE).strip_prefix("multipart/byteranges; boundary=").unwrap();
    let body = answer.body.as_ref().unwrap();
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first delimiter lacks its line end.
    let body = [b"\r\n", &body[..]].concat();
    let mut places: Vec<usize> = memchr::memmem::find_iter(&body, &delimiter).collect();
    let end = places.pop().unwrap();
    assert_eq!(&body[end + delimiter.len()..], b"--\r\n", "the last one ends the body");
    let ends = places.iter().skip(1).copied().chain([end]);
    let part = |(start, end): (&usize, usize)| {
        let part = &body[start + delimiter.len()..end];
        let head = memchr::memmem::find(part, b"\r\n\r\n").unwrap();
        (String::from_utf8(part[2..head].to_vec()).unwrap(), part[head + 4..].to_vec())
    };
    places.iter().zip(ends).map(part).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn several_ranges_are_several_parts() {
    let site = Fixture::new(FilesOptions::default());
    let large: Vec<u8> = (0..400_000_u32).map(|n| (n >> 3) as u8).collect();
    site.write("small.txt", "0123456789");
    site.write("large.bin", &large);
    let answer = site.get_with("/small.txt", header::RANGE, "bytes=0-1, 20-, 4-5,-1").await;
    assert_eq!(answer.status, 206);
    assert!(!answer.field(header::ETAG).is_empty() && !answer.field(header::LAST_MODIFIED).is_empty());
    assert!(!answer.headers.contains_key(header::CONTENT_RANGE));
    let head =
        |range: &str| format!("Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10");
    assert_eq!(
        parts(&answer),
        [(head("0-1"), b"01".to_vec()), (head("4-5"), b"45".to_vec()), (head("9-9"), b"9".to_vec())]
    );
    assert_eq!(answer.field(header::CONTENT_LENGTH), answer.body.as_ref().unwrap().len().to_string());

    let answer = site.get_with("/large.bin", header::RANGE, "bytes=300000-399999,0-199999").await;
    assert_eq!(answer.field(header::CONTENT_LENGTH), answer.body.as_ref().unwrap().len().to_string());
    let parts = parts(&answer);
    assert!(parts[0].1 == large[300_000..] && parts[1].1 == large[..200_000]);
}

#[tokio::test(flavor = "current_thread")]
async fn boundaries_differ() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "0123456789");
    let (one, two) = (
        site.get_with("/a", header::RANGE, "bytes=0-1,4-5").await,
        site.get_with("/a", header::RANGE, "bytes=0-1,4-5").await,
    );
    assert_ne!(one.field(header::CONTENT_TYPE), two.field(header::CONTENT_TYPE));
}

#[tokio::test(flavor = "current_thread")]
async fn too_many_or_too_much_is_the_whole() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "0123456789");
    let many = format!("bytes={}", (0..17).map(|_| "0-0").collect::<Vec<_>>().join(","));
    for range in [many.as_str(), "bytes=0-9,0-9", "bytes=0-,-9"] {
        let answer = site.get_with("/a", header::RANGE, range).await;
        assert_eq!((answer.status, answer.text()), (200, "0123456789"), "{range}");
    }
    let head = site.send(Method::HEAD, "/a", &[(header::RANGE, "bytes=0-1,4-5")]).await;
    assert_eq!((head.status, head.field(header::CONTENT_LENGTH)), (200, "10"));
}

#[tokio::test(flavor = "current_thread")]
async fn parts_of_a_file_that_shrinks_break_off() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", vec![1; 500_000]);
    let fields = [(header::RANGE, "bytes=0-9,400000-400009")];
    let response = site.files.handle(request(Method::GET, "/a", &fields)).await.unwrap();
    File::options().write(true).open(site.path("a")).unwrap().set_len(1000).unwrap();
    assert!(matches!(collect(response.body).await, Err(BodyError::Shrank { missing: 10 })));
}

#[tokio::test(flavor = "current_thread")]
async fn a_range_comes_after_the_preconditions() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "0123456789");
    let whole = site.get_settled("/a").await;
    let (etag, date) = (whole.field(header::ETAG), whole.field(header::LAST_MODIFIED));
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, status) in [
        (&[(header::IF_MATCH, "\"other\"")][..], 412),
        (&[(header::IF_MATCH, etag), (header::IF_UNMODIFIED_SINCE, old)], 206),
        (&[(header::IF_UNMODIFIED_SINCE, old)], 412),
        (&[(header::IF_NONE_MATCH, etag)], 304),
        (&[(header::IF_NONE_MATCH, "\"other\""), (header::IF_MODIFIED_SINCE, date)], 206),
        (&[(header::IF_MODIFIED_SINCE, date)], 304),
        (&[(header::IF_MATCH, etag), (header::IF_NONE_MATCH, etag)], 304),
        (&[(header::IF_RANGE, etag)], 206),
        (&[(header::IF_RANGE, date)], 206),
        (&[(header::IF_RANGE, old)], 200),
        (&[(header::IF_RANGE, "\"other\"")], 200),
        (&[(header::IF_RANGE, &format!("W/{etag}"))], 200),
        (&[(header::IF_RANGE, "\"other\""), (header::IF_NONE_MATCH, etag)], 304),
    ] {
        let fields = [fields, &[(header::RANGE, "bytes=0-1,4-5")]].concat();
        assert_eq!(site.send(Method::GET, "/a", &fields).await.status, status, "{fields:?}");
    }
}
