//! Images that Ebb makes by itself: `images/NAME/` holds a recipe, which a learner can read and run by hand, what the
//! image says of its containers (`image.json`), and files that are laid over (`root/`). All of it is in the binary too, so
//! that it works from anywhere.

mod elf;
mod host;
mod pack;
mod script;

use super::reference::normalise;
use super::{Image, ImageConfig, ImageFile};
use crate::error::{Doing, Error, Result};
use crate::progress;
use crate::store::{Store, lock, tree};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// One directory of images/.
pub struct Recipe {
    pub name: &'static str,
    /// Paths below `images/NAME/`, and their content.
    files: &'static [(&'static str, &'static str)],
}

macro_rules! recipe {
    ($name:literal, $($file:literal),+ $(,)?) => {
        Recipe {
            name: $name,
            files: &[$(($file, include_str!(concat!("../../../../images/", $name, "/", $file)))),+],
        }
    };
}

pub const RECIPES: &[Recipe] = &[
    recipe!("busybox", "recipe.sh", "image.json", "root/etc/group", "root/etc/nsswitch.conf", "root/etc/passwd",),
    recipe!(
        "nginx",
        "recipe.sh",
        "stand-in.sh",
        "image.json",
        "root/docker-entrypoint.sh",
        "root/etc/group",
        "root/etc/nginx/conf.d/default.conf",
        "root/etc/nginx/nginx.conf",
        "root/etc/nsswitch.conf",
        "root/etc/passwd",
        "root/usr/share/nginx/html/50x.html",
        "root/usr/share/nginx/html/index.html",
    ),
];

/// The recipe that makes `reference`: `nginx`, `nginx:latest`, `docker.io/library/nginx`. Other tags have none.
pub fn of(reference: &str) -> Option<&'static Recipe> {
    let name = normalise(reference).ok().filter(|_| !reference.contains('@'))?;
    RECIPES.iter().find(|recipe| name.strip_suffix(":latest") == Some(recipe.name))
}

/// The name as Docker shows it to people: with its tag.
pub fn familiar(reference: &str) -> String {
    normalise(reference).ok().filter(|_| !reference.contains('@')).unwrap_or_else(|| reference.to_owned())
}

/// Why there is no such image, and what there is.
pub fn none_makes(reference: &str) -> Error {
    let names: Vec<_> = RECIPES.iter().map(|recipe| recipe.name).collect();
    Error::not_found(format!("no recipe makes {reference}, and Ebb asks no registry for images yet")).with_cure(
        format!("the recipes are {}; what `docker save` wrote comes in with: ebb load -i FILE", names.join(" and ")),
    )
}

/// Makes the image, tells on stderr what it does, and gives it its name. Whatever goes wrong, nothing of it stays.
///
/// Of two that make the same image at once the second waits, and `unless` it then finds what it wants, makes it again.
pub fn make(store: &Store, recipe: &Recipe, unless: impl Fn() -> Option<Image>) -> Result<Image> {
    let name = format!("{}:latest", recipe.name);
    let workshop = Workshop::enter(store, recipe)?;
    if let Some(image) = unless() {
        return Ok(image);
    }
    progress::tell(&format!("Making {name} as images/{}/recipe.sh says", recipe.name));
    let failed = || format!("make the image {name}");
    let made = script::run(&workshop.path, recipe).doing(failed)?;
    let root = workshop.path.join("root");
    host::copy_programs(&root, &made.host).doing(failed)?;
    let tar = workshop.path.join("rootfs.tar");
    let newest = pack::write(&root, &tar, made.began).doing(failed)?;
    let mut config: ImageConfig = serde_json::from_str(recipe.file("image.json")).doing(failed)?;
    config.env.extend(made.env);
    let tar = std::fs::File::open(&tar).doing(failed)?;
    // The image is as old as the newest thing in it: made tomorrow of the same packages, it is the same image.
    let created = jiff::Timestamp::from_second(newest).map(|time| time.to_string()).ok();
    let file = ImageFile { created, config: Some(config), ..ImageFile::default() };
    super::add_layer(store, tar, file, Some(&name), &format!("images/{}/recipe.sh", recipe.name)).doing(failed)
}

impl Recipe {
    fn file(&self, path: &str) -> &'static str {
        self.files.iter().find(|(name, _)| *name == path).map_or("", |(_, content)| *content)
    }

    /// Writes the recipe's directory out, as it is in the source tree; the caller's umask has no say in the image.
    fn write_out(&self, dir: &Path) -> Result<()> {
        for (path, content) in self.files {
            let path = dir.join(path);
            let written = || -> std::io::Result<()> {
                std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
                std::fs::write(&path, content)?;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
                for dir in path.ancestors().skip(1).take_while(|parent| parent.starts_with(dir)) {
                    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
                }
                Ok(())
            };
            written().doing(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Where one image is made: `tmp/recipe.NAME`, held by a lock, and removed at the end. What a killed maker left there, the
/// next one clears.
struct Workshop {
    path: PathBuf,
    _lock: lock::Lock,
}

impl Workshop {
    fn enter(store: &Store, recipe: &Recipe) -> Result<Workshop> {
        let path = store.tmp().join(format!("recipe.{}", recipe.name));
        let lock = loop {
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error).doing(|| format!("make {}", path.display()));
                }
                _ => {}
            }
            if let Ok(lock) = lock::try_exclusive(&path) {
                break lock;
            }
            progress::tell(&format!("Waiting for another ebb, which is making {}", recipe.name));
            match lock::exclusive(&path) {
                Ok(lock) => break lock,
                // The other one is through, and took its workshop away.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        };
        for entry in std::fs::read_dir(&path).doing(|| format!("read {}", path.display()))?.flatten() {
            tree::remove(&entry.path())?;
        }
        Ok(Workshop { path, _lock: lock })
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = tree::remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_answers_to_the_names_that_mean_the_same_image() {
        for name in ["nginx", "nginx:latest", "library/nginx", "docker.io/library/nginx:latest", "docker.io/nginx"] {
            assert_eq!(of(name).map(|recipe| recipe.name), Some("nginx"), "{name}");
        }
        for name in ["nginx:1.25", "me/nginx", "nginx@sha256:00", "quay.io/nginx", ""] {
            assert!(of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_recipe_has_a_script_and_a_config() {
        for recipe in RECIPES {
            assert!(!recipe.file("recipe.sh").is_empty());
            let config: ImageConfig = serde_json::from_str(recipe.file("image.json")).expect("a config");
            assert!(config.cmd.is_some());
        }
    }
}
