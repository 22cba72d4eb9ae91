/* What can be asked for here, out of the job's tables. */
#include <string.h>

#include "json_write.h"
#include "openapi.h"
#include "routes.h"
#include "spec_value.h"

static void put_default(struct text *out, const struct spec_field *field)
{
    json_key(out, "default");
    if (field->required)
        json_null(out);
    else
        openapi_default(out, field);
}

static void put_parameters(struct text *out, const struct spec_object *object);

static void put_parameter(struct text *out, const struct spec_field *field)
{
    static const char *const types[] = {
        [SPEC_INT] = "integer",   [SPEC_REAL] = "number",   [SPEC_BOOL] = "boolean",
        [SPEC_STRING] = "string", [SPEC_CHOICE] = "choice", [SPEC_INT_LIST] = "integers",
        [SPEC_OBJECT] = "object", [SPEC_VARIANT] = "kinds", [SPEC_VARIANT_LIST] = "list",
    };

    json_open(out, '{');
    json_put_string(out, "name", field->name);
    json_put_string(out, "type", types[field->type]);
    json_put_string(out, "doc", field->doc);
    json_put_bool(out, "required", field->required);
    put_default(out, field);
    if (field->type == SPEC_INT || field->type == SPEC_REAL || field->type == SPEC_INT_LIST) {
        json_put_real(out, "min", field->min);
        json_put_real(out, "max", field->max);
        json_put_bool(out, "above_min", field->above_min);
        json_put_bool(out, "below_max", field->below_max);
    }
    if (field->type == SPEC_CHOICE) {
        json_key(out, "choices");
        json_open(out, '[');
        for (const char *const *choice = field->choices; *choice; choice++)
            json_string(out, *choice);
        json_close(out, ']');
    }
    if (field->type == SPEC_STRING || field->type == SPEC_INT_LIST ||
        field->type == SPEC_VARIANT_LIST)
        json_put_int(out, "max_length", (int64_t)field->max_length);
    if (field->type == SPEC_OBJECT)
        put_parameters(out, field->object);
    json_close(out, '}');
}

static void put_parameters(struct text *out, const struct spec_object *object)
{
    json_key(out, "parameters");
    json_open(out, '[');
    for (int i = 0; i < object->n_fields; i++)
        put_parameter(out, &object->fields[i]);
    json_close(out, ']');
}

static void put_kind_members(struct text *out, const struct spec_object *kind)
{
    json_put_string(out, "kind", kind->name);
    json_put_string(out, "doc", kind->doc);
    put_parameters(out, kind);
}

static void put_kind(struct text *out, const struct spec_object *kind)
{
    json_open(out, '{');
    put_kind_members(out, kind);
    json_close(out, '}');
}

static int kinds(struct request *request, struct reply *reply, const char *member, const char *list)
{
    const struct spec_object *spec = request->api->service->job_spec;
    struct text *out = &reply->body;
    int index = spec_field_find(spec, member);

    json_open(out, '{');
    json_key(out, list);
    json_open(out, '[');
    for (int i = 0; index >= 0 && i < spec->fields[index].n_kinds; i++)
        put_kind(out, &spec->fields[index].kinds[i]);
    json_close(out, ']');
    json_close(out, '}');
    text_append(out, "\n");
    return 0;
}

#define KINDS(name, member, list)                                                                  \
    int name(struct request *request, struct reply *reply, struct err *err)                        \
    {                                                                                              \
        (void)err;                                                                                 \
        return kinds(request, reply, member, list);                                                \
    }

KINDS(models_get, "model", "models")
KINDS(datasets_get, "dataset", "datasets")
KINDS(methods_get, "method", "methods")
KINDS(optimizers_get, "optimizer", "optimizers")
KINDS(schedules_get, "schedule", "schedules")

static void put_table(struct text *out, const struct probe_table *table)
{
    json_open(out, '{');
    json_put_string(out, "name", table->name);
    json_put_string(out, "doc", table->doc);
    json_key(out, "columns");
    json_open(out, '[');
    for (int i = 0; i < table->n_columns; i++) {
        json_open(out, '{');
        json_put_string(out, "name", table->columns[i].name);
        json_put_string(out, "doc", table->columns[i].doc);
        json_put_bool(out, "integer", table->columns[i].integer);
        json_close(out, '}');
    }
    json_close(out, ']');
    json_close(out, '}');
}

int probe_kinds_get(struct request *request, struct reply *reply, struct err *err)
{
    const struct api_service *service = request->api->service;
    struct text *out = &reply->body;

    (void)err;
    json_open(out, '{');
    json_key(out, "probes");
    json_open(out, '[');
    for (int kind = 0; kind < service->probe_spec->n_kinds; kind++) {
        int n;
        const struct probe_table *tables = service->probe_tables(kind, &n);

        json_open(out, '{');
        put_kind_members(out, &service->probe_spec->kinds[kind]);
        json_key(out, "tables");
        json_open(out, '[');
        for (int i = 0; i < n; i++)
            if (!tables[i].internal)
                put_table(out, &tables[i]);
        json_close(out, ']');
        json_close(out, '}');
    }
    json_close(out, ']');
    json_close(out, '}');
    text_append(out, "\n");
    return 0;
}

/* What is -1 is not known, and null. */
static void put_known(struct text *out, const char *key, int64_t value)
{
    if (value < 0)
        json_put_null(out, key);
    else
        json_put_int(out, key, value);
}

static void put_process(struct text *out, const struct device_process *process)
{
    json_open(out, '{');
    json_put_int(out, "pid", process->pid);
    json_put_string(out, "name", process->name[0] ? process->name : NULL);
    put_known(out, "memory_bytes", process->memory_bytes);
    json_close(out, '}');
}

static void put_load(struct text *out, const struct device_load *load)
{
    put_known(out, "memory_used_bytes", load->memory_used_bytes);
    if (load->utilisation < 0)
        json_put_null(out, "utilisation");
    else
        json_put_real(out, "utilisation", load->utilisation);
    put_known(out, "temperature_celsius", load->temperature_celsius);
    put_known(out, "processes", load->processes);
    json_key(out, "others");
    json_open(out, '[');
    for (int i = 0; i < load->n_others && i < DEVICE_PROCESSES_MAX; i++)
        put_process(out, &load->others[i]);
    json_close(out, ']');
}

/* What GPUs alone have. */
static void put_gpu(struct text *out, const struct api_service *service, int i)
{
    struct device_health health;
    struct device_load load;

    json_put_string(out, "uuid", service->devices[i].uuid);
    if (service->device_health) {
        service->device_health(service->context, i, &health);
        json_put_string(out, "state", device_state_name(health.state));
        json_put_string(out, "reason", health.reason[0] ? health.reason : NULL);
    }
    if (service->device_load && service->device_load(service->context, i, &load))
        put_load(out, &load);
}

static void put_device(struct text *out, const struct api_service *service, int i)
{
    const struct api_device *device = &service->devices[i];

    json_open(out, '{');
    json_put_string(out, "name", device->name);
    json_put_string(out, "doc", device->doc);
    json_put_string(out, "description", device->description);
    json_put_int(out, "cores", device->cores);
    json_put_int(out, "memory_bytes", device->memory_bytes);
    json_key(out, "precisions");
    json_open(out, '[');
    for (const char *const *at = device->precisions; at && *at; at++)
        json_string(out, *at);
    json_close(out, ']');
    if (device->uuid)
        put_gpu(out, service, i);
    json_close(out, '}');
}

int devices_get(struct request *request, struct reply *reply, struct err *err)
{
    const struct api_service *service = request->api->service;
    struct text *out = &reply->body;

    (void)err;
    json_open(out, '{');
    json_key(out, "devices");
    json_open(out, '[');
    for (int i = 0; i < service->n_devices; i++)
        put_device(out, service, i);
    json_close(out, ']');
    json_put_int(out, "workers", service->workers);
    json_close(out, '}');
    text_append(out, "\n");
    return 0;
}
