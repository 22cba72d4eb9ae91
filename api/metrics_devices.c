/* GPUs as metrics: a line each, for those that tell. */
#include "base/cleanup.h"
#include "metrics.h"
#include "routes.h"

enum { DEVICES_MOST = 16 };

struct device_now {
    bool known;
    struct device_load load;
    struct device_health health;
};

/* What a device does not tell is below 0, and left out. */
static double total_memory(const struct api_device *device, const struct device_now *now)
{
    (void)now;
    return (double)device->memory_bytes;
}

static double is_usable(const struct api_device *device, const struct device_now *now)
{
    (void)device;
    return now->health.state == DEVICE_STATE_READY || now->health.state == DEVICE_STATE_UNTESTED;
}

static double used_memory(const struct api_device *device, const struct device_now *now)
{
    (void)device;
    return now->known ? (double)now->load.memory_used_bytes : -1;
}

static double utilisation(const struct api_device *device, const struct device_now *now)
{
    (void)device;
    return now->known ? now->load.utilisation : -1;
}

static double temperature(const struct api_device *device, const struct device_now *now)
{
    (void)device;
    return now->known ? now->load.temperature_celsius : -1;
}

static double processes(const struct api_device *device, const struct device_now *now)
{
    (void)device;
    return now->known ? now->load.processes : -1;
}

static double others(const struct api_device *device, const struct device_now *now)
{
    (void)device;
    return now->known && now->load.processes >= 0 ? now->load.n_others : -1;
}

/* Of those that are described. */
static double memory_of_others(const struct api_device *device, const struct device_now *now)
{
    double bytes = 0;

    (void)device;
    if (others(device, now) < 0)
        return -1;
    for (int i = 0; i < now->load.n_others && i < DEVICE_PROCESSES_MAX; i++)
        bytes +=
            now->load.others[i].memory_bytes > 0 ? (double)now->load.others[i].memory_bytes : 0;
    return bytes;
}

static const struct gauge {
    const char *name, *help;
    double (*value)(const struct api_device *device, const struct device_now *now);
} gauges[] = {
    {"rwpd_gpu_usable", "1: jobs are given to it; 0: it is set aside or lost.", is_usable},
    {"rwpd_gpu_memory_bytes", "That it has.", total_memory},
    {"rwpd_gpu_memory_used_bytes", "Of all processes.", used_memory},
    {"rwpd_gpu_utilisation", "Share of time in which it computes.", utilisation},
    {"rwpd_gpu_temperature_celsius", "Of the GPU.", temperature},
    {"rwpd_gpu_processes", "That compute on it.", processes},
    {"rwpd_gpu_other_processes", "That compute on it beside this one.", others},
    {"rwpd_gpu_other_memory_bytes", "Of processes beside this one.", memory_of_others},
};

static void head(struct text *out, const char *name, const char *help)
{
    text_append(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void put_gauge(struct text *out, const struct gauge *gauge,
                      const struct api_service *service, const struct device_now *now)
{
    head(out, gauge->name, gauge->help);
    for (int i = 0; i < service->n_devices && i < DEVICES_MOST; i++) {
        const struct api_device *device = &service->devices[i];
        double value = device->uuid ? gauge->value(device, &now[i]) : -1;
        char number[TEXT_NUMBER_BYTES];

        if (value < 0)
            continue;
        text_number(value, number);
        text_append(out, "%s{device=\"%s\",uuid=\"%s\"} %s\n", gauge->name, device->name,
                    device->uuid, number);
    }
}

void metrics_put_devices(struct text *out, const struct api_service *service)
{
    struct device_now now[DEVICES_MOST] = {0};
    bool any = false;

    for (int i = 0; i < service->n_devices && i < DEVICES_MOST; i++) {
        if (!service->devices[i].uuid)
            continue;
        any = true;
        if (service->device_health)
            service->device_health(service->context, i, &now[i].health);
        now[i].known =
            service->device_load && service->device_load(service->context, i, &now[i].load);
    }
    if (!any)
        return;
    head(out, "rwpd_gpu_info", "The GPU behind a device.");
    for (int i = 0; i < service->n_devices && i < DEVICES_MOST; i++)
        if (service->devices[i].uuid)
            text_append(out, "rwpd_gpu_info{device=\"%s\",uuid=\"%s\",name=\"%s\"} 1\n",
                        service->devices[i].name, service->devices[i].uuid,
                        service->devices[i].description);
    for (size_t g = 0; g < ARRAY_LENGTH(gauges); g++)
        put_gauge(out, &gauges[g], service, now);
}
