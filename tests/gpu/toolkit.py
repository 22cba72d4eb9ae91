"""Where CUDA is on this machine. Its pieces may lie in one folder, as NVIDIA's installer leaves them,
or cuDNN in a Python package and the compiler elsewhere, and libraries of packages lack the names
that linkers look for. What is not whole is put together as a folder of links."""

import glob
import os
import shutil
import stat
import subprocess
import sys
import sysconfig

LIBRARIES = ("cudart", "cublasLt", "cudnn")
HEADERS = ("cuda_runtime_api.h", "cublasLt.h", "cudnn.h")
DRIVERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib",
           "/run/opengl-driver/lib")


def _python_folders():
    """Folders of NVIDIA's Python packages: nvidia/cudnn, nvidia/cu13, …"""
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path}
    return sorted(folder for place in places if place
                  for folder in glob.glob(os.path.join(place, "nvidia", "*"))
                  if os.path.isdir(folder))


def _toolkits():
    """Folders with a compiler, the likeliest first."""
    found = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    nvcc = shutil.which("nvcc")
    if nvcc:
        found += [os.path.dirname(os.path.dirname(nvcc)),
                  os.path.dirname(os.path.dirname(os.path.realpath(nvcc)))]
    found += ["/usr/local/cuda", *sorted(glob.glob("/usr/local/cuda-*"), reverse=True), "/opt/cuda",
              *_python_folders()]
    return [f for f in dict.fromkeys(found) if f and os.access(os.path.join(f, "bin/nvcc"), os.X_OK)]


def _library_folders(root):
    return [os.path.join(root, name) for name in ("lib64", "lib", "targets/x86_64-linux/lib",
                                                  "targets/sbsa-linux/lib")]


def _include_folders(root):
    return [os.path.join(root, name) for name in ("include", "targets/x86_64-linux/include",
                                                  "targets/sbsa-linux/include")]


def is_whole(root):
    """Whether the build finds all that it needs below this folder."""
    libraries = all(any(os.path.exists(os.path.join(root, folder, f"lib{name}.so"))
                        for folder in ("lib64", "lib")) for name in LIBRARIES)
    headers = all(os.path.exists(os.path.join(root, "include", name)) for name in HEADERS)
    return libraries and headers and os.access(os.path.join(root, "bin/nvcc"), os.X_OK)


def _link(source, target):
    if not os.path.lexists(target):
        os.symlink(source, target)


def _link_libraries(roots, folder):
    """Every shared library under its own name and, once, under the one that linkers look for. The
    first that is found is taken, with all its kin: cuDNN looks for its parts beside itself."""
    os.makedirs(folder)
    for place in [f for root in roots for f in _library_folders(root)]:
        for path in sorted(glob.glob(os.path.join(place, "lib*.so*"))):
            name = os.path.basename(path)
            _link(path, os.path.join(folder, name))
            _link(path, os.path.join(folder, name.split(".so")[0] + ".so"))
    for place in [f for root in roots for f in _library_folders(root)]:
        if os.path.isdir(os.path.join(place, "stubs")):
            _link(os.path.join(place, "stubs"), os.path.join(folder, "stubs"))


def _link_headers(roots, folder):
    os.makedirs(folder)
    for place in [f for root in roots for f in _include_folders(root)]:
        for path in sorted(glob.glob(os.path.join(place, "*"))):
            _link(path, os.path.join(folder, os.path.basename(path)))


def _wrap_compiler(compiler, folder):
    """nvcc looks for its parts around the path that it is called by."""
    os.makedirs(folder)
    path = os.path.join(folder, "nvcc")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec "{compiler}" "$@"\n')
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def assemble(toolkit, others, folder):
    """A whole toolkit of links in `folder`, the compiler's own pieces before those of others."""
    roots = [toolkit, *others]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    _link_libraries(roots, os.path.join(folder, "lib64"))
    _link_headers(roots, os.path.join(folder, "include"))
    _wrap_compiler(os.path.join(toolkit, "bin/nvcc"), os.path.join(folder, "bin"))
    return folder


def find(folder):
    """The toolkit's folder, and in words where it is from; what is assembled goes to `folder`."""
    toolkits = _toolkits()
    if not toolkits:
        raise FileNotFoundError("there is no nvcc: not in PATH, CUDA_HOME, /usr/local/cuda* or a "
                                "Python package")
    for root in toolkits:
        if is_whole(root):
            return root, root
    others = [*toolkits[1:], *_python_folders(), "/usr", "/usr/local"]
    assemble(toolkits[0], others, folder)
    if not is_whole(folder):
        missing = [f"lib{name}" for name in LIBRARIES
                   if not os.path.exists(os.path.join(folder, "lib64", f"lib{name}.so"))]
        missing += [name for name in HEADERS
                    if not os.path.exists(os.path.join(folder, "include", name))]
        raise FileNotFoundError(f"{toolkits[0]} and Python's packages lack {', '.join(missing)}")
    return folder, f"{toolkits[0]} with {os.path.realpath(os.path.join(folder, 'include/cudnn.h'))}"


def tool(name, root=""):
    """The path of a program of CUDA's or the driver's, or None."""
    places = [os.environ.get("PATH", ""), os.path.join(root, "bin") if root else "",
              "/usr/local/cuda/bin", "/usr/local/nvidia/bin", "/opt/cuda/bin",
              *(os.path.join(f, name) for f in (root, "/usr/local/cuda") if f),
              *sorted(glob.glob("/usr/local/cuda-*/bin"), reverse=True),
              *glob.glob(f"/opt/nvidia/*/{name}")]
    return shutil.which(name, path=os.pathsep.join(p for p in places if p))


def python_tool(name, module):
    """How a program that may be a Python package alone is called, or None."""
    path = shutil.which(name) or shutil.which(name, path=os.path.dirname(sys.executable))
    if path:
        return [path]
    probe = [sys.executable, "-m", module, "--version"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return probe[:-1]
    return None


def environment():
    """This process's, in which a driver is found that lies beside the system's libraries."""
    env = dict(os.environ)
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False) \
        if os.path.exists("/sbin/ldconfig") else None
    if known and "libcuda.so.1" in known.stdout:
        return env
    there = [f for f in DRIVERS if os.path.exists(os.path.join(f, "libcuda.so.1"))]
    if there:
        env["LD_LIBRARY_PATH"] = os.pathsep.join(
            [*there, *filter(None, [env.get("LD_LIBRARY_PATH")])])
    return env
