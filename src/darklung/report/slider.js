(function () {
  function show(box, index) {
    var frames = box.querySelectorAll('.frame');
    index = Math.max(0, Math.min(frames.length - 1, index));
    frames.forEach(function (f, i) { f.classList.toggle('shown', i === index); });
    var input = box.querySelector('input'), output = box.querySelector('output');
    if (input) { input.value = index; output.textContent = frames[index].dataset.label; }
    box.dataset.index = index;
  }
  var boxes = document.querySelectorAll('.slider');
  boxes.forEach(function (box) {
    var input = box.querySelector('input');
    if (input) { input.addEventListener('input', function () { show(box, +input.value); }); }
  });
  function follow() {
    var wanted = /^#([a-z0-9-]+)=(\d+)$/.exec(location.hash), box = wanted && document.getElementById(wanted[1]);
    if (box) { show(box, +wanted[2]); box.scrollIntoView(); }
  }
  window.addEventListener('beforeprint', function () {
    document.querySelectorAll('details').forEach(function (d) { d.open = true; });
  });
  window.addEventListener('hashchange', follow);
  document.documentElement.classList.add('js');
  follow();
})();
