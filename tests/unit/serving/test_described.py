"""What a service says of itself for programs that read it."""

from pixelwise.serving.described import body


def test_a_body_is_a_file_and_a_form_has_one_for_each_input() -> None:
    one, two = {"inputs": ["colour"]}, {"inputs": ["colour", "depth"]}
    alone = body([one])["content"]
    assert alone["image/jpeg"]["schema"]["minLength"] == 1  # an empty one is refused
    form = alone["multipart/form-data"]
    assert (form["schema"]["required"], [*form["encoding"]]) == (["image"], ["image"])
    assert form["schema"]["properties"]["image"]["minLength"] == 1
    several = body([one, two])["content"]["multipart/form-data"]["schema"]
    assert sorted(several["properties"]) == ["colour", "depth", "image"]
    assert several["required"] == []  # which, depends on the model that is asked
