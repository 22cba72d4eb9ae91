"""JSON Schema, as much of it as the daemon's description uses. A keyword that is not known here is
an error and not ignored. Standard library only."""

import re

DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
NOTES = {"description", "default", "discriminator"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def has_type(value, name):
    if name == "number":
        return is_number(value)
    if name == "integer":
        return is_number(value) and value == int(value)
    return isinstance(value, TYPES[name])


def same(one, other):
    return one == other and isinstance(one, bool) == isinstance(other, bool)


class Schemas:
    """`problems(value, schema)` lists what is wrong, each with its place; [] when nothing is."""

    def __init__(self, description):
        self.description = description

    def resolve(self, reference):
        found = self.description
        if not reference.startswith("#/"):
            raise ValueError(f"{reference} is not in this document")
        for name in reference[2:].split("/"):
            found = found[name.replace("~1", "/").replace("~0", "~")]
        return found

    def component(self, name):
        return {"$ref": "#/components/schemas/" + name}

    def problems(self, value, schema, place=""):
        found = []
        for keyword, argument in schema.items():
            if keyword not in NOTES:
                check = getattr(self, "check_" + keyword.lstrip("$"), None)
                if not check:
                    raise ValueError(f"{place}: keyword {keyword} is not known")
                found += check(value, argument, schema, place)
        return found

    def check_ref(self, value, argument, _schema, place):
        return self.problems(value, self.resolve(argument), place)

    def check_type(self, value, argument, _schema, place):
        names = argument if isinstance(argument, list) else [argument]
        good = any(has_type(value, name) for name in names)
        return [] if good else [f"{place}: {value!r} is no {argument}"]

    def check_enum(self, value, argument, _schema, place):
        good = any(same(value, one) for one in argument)
        return [] if good else [f"{place}: {value!r} is none of {argument}"]

    def check_const(self, value, argument, _schema, place):
        return [] if same(value, argument) else [f"{place}: {value!r} is not {argument!r}"]

    def check_properties(self, value, argument, _schema, place):
        if not isinstance(value, dict):
            return []
        return [problem for name, schema in argument.items() if name in value
                for problem in self.problems(value[name], schema, f"{place}/{name}")]

    def check_required(self, value, argument, _schema, place):
        if not isinstance(value, dict):
            return []
        return [f"{place}: {name} is missing" for name in argument if name not in value]

    def check_additionalProperties(self, value, argument, schema, place):
        if not isinstance(value, dict) or argument is True:
            return []
        more = [name for name in value if name not in schema.get("properties", {})]
        if argument is False:
            return [f"{place}: {name} is not described" for name in more]
        return [problem for name in more
                for problem in self.problems(value[name], argument, f"{place}/{name}")]

    def check_minProperties(self, value, argument, _schema, place):
        few = isinstance(value, dict) and len(value) < argument
        return [f"{place}: fewer than {argument} members"] if few else []

    def check_maxProperties(self, value, argument, _schema, place):
        many = isinstance(value, dict) and len(value) > argument
        return [f"{place}: more than {argument} members"] if many else []

    def check_minItems(self, value, argument, _schema, place):
        short = isinstance(value, list) and len(value) < argument
        return [f"{place}: fewer than {argument}"] if short else []

    def check_items(self, value, argument, _schema, place):
        if not isinstance(value, list):
            return []
        return [problem for index, item in enumerate(value)
                for problem in self.problems(item, argument, f"{place}/{index}")]

    def check_anyOf(self, value, argument, _schema, place):
        each = [self.problems(value, schema, place) for schema in argument]
        return [] if [] in each else [problem for problems in each for problem in problems]

    def check_oneOf(self, value, argument, _schema, place):
        each = [self.problems(value, schema, place) for schema in argument]
        if each.count([]) > 1:
            return [f"{place}: {value!r} is more than one of what it may be"]
        return [] if [] in each else [problem for problems in each for problem in problems]

    def check_minimum(self, value, argument, _schema, place):
        return [f"{place}: {value} is too small"] if is_number(value) and value < argument else []

    def check_maximum(self, value, argument, _schema, place):
        return [f"{place}: {value} is too large"] if is_number(value) and value > argument else []

    def check_exclusiveMinimum(self, value, argument, _schema, place):
        return [f"{place}: {value} is too small"] if is_number(value) and value <= argument else []

    def check_exclusiveMaximum(self, value, argument, _schema, place):
        return [f"{place}: {value} is too large"] if is_number(value) and value >= argument else []

    def check_maxLength(self, value, argument, _schema, place):
        long = isinstance(value, str) and len(value) > argument
        return [f"{place}: longer than {argument}"] if long else []

    def check_maxItems(self, value, argument, _schema, place):
        long = isinstance(value, list) and len(value) > argument
        return [f"{place}: more than {argument}"] if long else []

    def check_format(self, value, argument, _schema, place):
        if argument != "date-time":
            raise ValueError(f"{place}: format {argument} is not known")
        wrong = isinstance(value, str) and not DATE_TIME.fullmatch(value)
        return [f"{place}: {value!r} is no date"] if wrong else []
